"""The extra ``evaluate`` is all that evaluating needs: no torch, OpenCV or numba."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "cv2", "numba", "onnx", "pandas", "igl", "pycocotools"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import openexpose.evaluation as package
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
assert len(names) > 20
print([name for name in ("matplotlib", "trimesh") if name in sys.modules])
"""


def test_every_module_imports_without_the_libraries_of_training() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]", "meshes and plots are loaded when they are needed"
