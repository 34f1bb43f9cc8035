// Time: which frame is shown, playing with the clip's own frame times, the video in step.

const QUIET_MS = 200;

export class Clock {
  /**
   * @param {Float64Array} times  when each frame is shown, seconds
   * @param {HTMLVideoElement | null} video
   * @param {() => void} changed  called when another frame is shown, or it plays or stops
   */
  constructor(times, video, changed) {
    Object.assign(this, { times, video, changed, frame: 0, playing: false, speed: 1, turn: 0 });
    const count = times.length;
    this.end = count > 1 ? times[count - 1] + (times[count - 1] - times[0]) / (count - 1) : 0;
    if (!video) return;
    video.muted = video.playsInline = true;
    video.addEventListener("seeked", () => {
      if (this.wanted !== undefined) this.seekVideo(this.wanted);
    });
    video.addEventListener("ended", () => this.playing && this.start(0));
    video.addEventListener("error", () => this.loseVideo());
  }

  /** A video that this browser cannot play: go on without. */
  loseVideo() {
    if (!this.video) return;
    const playing = this.playing;
    this.pause();
    this.video = null;
    this.lost = true;
    if (playing) this.play();
    this.changed();
  }

  /** Number of the frame that is shown at a time. */
  frameAt(time) {
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  show(frame) {
    frame = Math.max(0, Math.min(this.times.length - 1, frame));
    if (frame === this.frame) return;
    this.frame = frame;
    this.changed();
  }

  /** Show a frame and stop. */
  seek(frame) {
    this.pause();
    this.show(frame);
    this.seekVideo(this.frame);
  }

  /** Let the video show a frame; once more when all is quiet: after quick seeks Chromium may go on showing an older one. */
  seekVideo(frame, again = false) {
    if (!this.video) return;
    clearTimeout(this.quiet);
    this.wanted = this.video.seeking ? frame : undefined;
    if (this.video.seeking) return;
    const next = frame + 1 < this.times.length ? this.times[frame + 1] : this.end;
    const time = this.times[frame] + (again ? 0.5 : 0.4) * (next - this.times[frame]); // well within the frame
    if (Math.abs(this.video.currentTime - time) > 1e-4) this.video.currentTime = time;
    if (!again) this.quiet = setTimeout(() => this.playing || this.seekVideo(this.frame, true), QUIET_MS);
  }

  toggle() {
    if (this.playing) this.seek(this.frame);
    else this.play();
  }

  play() {
    if (this.times.length < 2) return;
    this.playing = true;
    this.start(this.frame + 1 < this.times.length ? this.times[this.frame] : 0);
    this.changed();
  }

  start(time) {
    const turn = ++this.turn;
    this.base = { time, now: performance.now() };
    if (!this.video) {
      requestAnimationFrame(() => this.tick(turn));
      return;
    }
    this.video.playbackRate = this.speed;
    if (time === 0) this.video.currentTime = 0;
    this.video.play().catch((error) => error.name !== "AbortError" && this.loseVideo());
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback((_, data) => this.follow(turn, data.mediaTime));
    else requestAnimationFrame(() => this.follow(turn, this.video?.currentTime ?? 0));
  }

  /** Without a video: the frame of now. */
  tick(turn) {
    if (turn !== this.turn || !this.playing) return;
    const now = performance.now();
    let time = this.base.time + ((now - this.base.now) / 1000) * this.speed;
    if (time >= this.end) {
      time = this.times[0];
      this.base = { time, now };
    }
    this.show(this.frameAt(time));
    requestAnimationFrame(() => this.tick(turn));
  }

  /** With a video: the frame that it shows. */
  follow(turn, time) {
    if (turn !== this.turn || !this.playing || !this.video) return;
    this.show(this.frameAt(time + 1e-3));
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback((_, data) => this.follow(turn, data.mediaTime));
    else requestAnimationFrame(() => this.follow(turn, this.video?.currentTime ?? 0));
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.turn++;
    this.video?.pause();
    this.changed();
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.video) this.video.playbackRate = speed;
    if (this.playing) this.base = { time: this.times[this.frame], now: performance.now() };
  }
}
