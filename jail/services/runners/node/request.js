// The request as services know it: stdin, a real stream, with what descriptor 4 says about it.
//
// The same object is the `hook` of services that take one: it has `req`, `res`, `params`, `env`.
'use strict';

function openRequest(request, res) {
  const { id, method, url, path, headers, params, deadline_ms: deadline } = request;
  const peer = { remoteAddress: request.remote, encrypted: false };
  const stream = process.stdin;
  const known = {
    id, method, url, path, headers, params, deadline, res, socket: peer, connection: peer,
    rawHeaders: Object.entries(headers).flat(), host: headers.host, httpVersion: '1.1', env: { ...process.env },
    streaming: true, req: stream,
  };
  for (const [name, value] of Object.entries(known)) {
    Object.defineProperty(stream, name, { value, writable: true, enumerable: true, configurable: true });
  }
  return stream;
}

module.exports = { openRequest };
