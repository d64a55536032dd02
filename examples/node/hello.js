// The smallest service: no input, one line of output.
//
//   pyjail run --ro-bind examples/node:/srv -- node /srv/hello.js
//
// As a program of its own that starts without Python (see systemd/ and supervisord/ beside this folder):
//
//   pyjail compile -o hello.jail --ro-bind examples/node:/srv -- node /srv/hello.js
//   ./hello.jail
'use strict';

process.stdout.write('hello\n');
