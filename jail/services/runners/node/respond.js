// What a service's function returns, or its promise resolves to, as the response.
'use strict';

const { Readable, pipeline } = require('node:stream');
const { isProxy } = require('node:util').types;

// Values that functions return by the way (`res.write()` a boolean, `list.push()` a number) count only where
// the service says nothing else until its end.
function isWeak(value) {
  return value === null || ['number', 'boolean', 'bigint'].includes(typeof value);
}

function isPlain(value) {
  if (typeof value !== 'object' || isProxy(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Array.isArray(value)
    || typeof value.toJSON === 'function';
}

function isStream(value) {
  return typeof value === 'object' && (typeof value[Symbol.asyncIterator] === 'function'
    || (typeof value[Symbol.iterator] === 'function' && typeof value.next === 'function'));
}

function send(stream, res) {
  return new Promise((resolve, reject) => {
    pipeline(stream, res, (error) => (error ? reject(error) : resolve()));
  });
}

async function respond(value, res, returned) {
  if (value === undefined || value === res || res.writableEnded || value === process.stdin) return;
  if (value === null || isWeak(value)) res.json(typeof value === 'bigint' ? String(value) : value);
  else if (typeof value === 'string' || value instanceof Uint8Array) res.end(value);
  else if (value instanceof ArrayBuffer) res.end(new Uint8Array(value));
  else if (typeof globalThis.Response === 'function' && value instanceof globalThis.Response) {
    const headers = {};
    for (const [name, text] of value.headers) {
      headers[name] = name in headers ? [headers[name], text].flat() : text;
    }
    res.writeHead(value.status, headers);
    if (value.body) await send(Readable.fromWeb(value.body), res);
    else res.end();
  } else if (isStream(value)) await send(value instanceof Readable ? value : Readable.from(value), res);
  else if (isPlain(value) || returned instanceof Promise) res.json(value);
}

module.exports = { respond, isWeak };
