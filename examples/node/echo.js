// A service with a parameter: it answers with the value of PARAM.
//
//   pyjail run --env PARAM='good morning' --ro-bind examples/node:/srv -- node /srv/echo.js
//
// The parameter is data in the environment: no shell reads it, whatever characters it holds.
'use strict';

const param = process.env.PARAM;
if (param === undefined) {
  process.stderr.write('echo: no PARAM in the environment; pass one with --env PARAM=VALUE\n');
  process.exitCode = 2;
} else {
  process.stdout.write(param + '\n');
}
