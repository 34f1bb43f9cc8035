"""What the project's web pages share: the guard of their servers, a socket to listen on, three.js (vendor/)."""
