// The response as services know it from node's http: status and header fields leave as a message on
// descriptor 3, the body on stdout. A write calls back when its bytes have left, so a slow reader is felt.
'use strict';

const { Writable } = require('node:stream');
const { tell } = require('./tell.js');

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

function checked(name, value) {
  if (typeof name !== 'string' || !TOKEN.test(name)) {
    throw new TypeError(`Header name must be a valid HTTP token [${JSON.stringify(name)}]`);
  }
  const values = Array.isArray(value) ? value : [value];
  for (const each of values) {
    if (each === undefined) throw new TypeError(`Invalid value "undefined" for header ${JSON.stringify(name)}`);
    if (!VALUE.test(String(each))) throw new TypeError(`Invalid character in header content [${JSON.stringify(name)}]`);
  }
  return Array.isArray(value) ? values.map(String) : String(value);
}

class Response extends Writable {
  constructor() {
    super({ decodeStrings: true });
    this.statusCode = 200;
    this.statusMessage = undefined;
    this.headersSent = false;
    this.hasWritten = false;
    this.fields = new Map(); // by the name in lower case: the name as given, and the value
  }

  setHeader(name, value) {
    this.mayChange('set');
    const text = checked(name, value);
    this.fields.set(name.toLowerCase(), [name, text]);
    return this;
  }

  appendHeader(name, value) {
    const before = this.getHeader(name);
    return this.setHeader(name, before === undefined ? value : [before, value].flat());
  }

  getHeader(name) {
    return this.fields.get(String(name).toLowerCase())?.[1];
  }

  getHeaders() {
    return Object.fromEntries([...this.fields].map(([key, [, value]]) => [key, value]));
  }

  getHeaderNames() {
    return [...this.fields.keys()];
  }

  hasHeader(name) {
    return this.fields.has(String(name).toLowerCase());
  }

  removeHeader(name) {
    this.mayChange('remove');
    this.fields.delete(String(name).toLowerCase());
  }

  writeHead(status, message, headers) {
    this.mayChange('write');
    if (!Number.isInteger(Number(status)) || status < 200 || status > 599) {
      throw new RangeError(`Invalid status code: ${status}`);
    }
    this.statusCode = Number(status);
    const fields = (typeof message === 'string' ? headers : message) ?? {};
    if (typeof message === 'string') this.statusMessage = message;
    if (Array.isArray(fields)) {
      const flat = fields.flat();
      for (let index = 0; index < flat.length; index += 2) this.appendHeader(flat[index], flat[index + 1]);
    } else {
      for (const [name, value] of Object.entries(fields)) this.setHeader(name, value);
    }
    this.sendHead();
    return this;
  }

  flushHeaders() {
    if (!this.headersSent) this.sendHead();
  }

  status(code) {
    this.statusCode = code;
    return this;
  }

  json(value) {
    if (!this.headersSent && !this.hasHeader('content-type')) {
      this.setHeader('Content-Type', 'application/json; charset=utf-8');
    }
    return this.end(JSON.stringify(value));
  }

  mayChange(what) {
    if (!this.headersSent) return;
    const error = new Error(`Cannot ${what} headers after they are sent to the client`);
    error.code = 'ERR_HTTP_HEADERS_SENT';
    throw error;
  }

  sendHead() {
    this.headersSent = true;
    tell({ type: 'head', status: this.statusCode, headers: Object.fromEntries(this.fields.values()) });
  }

  // What is a plain 200 needs no head: nothing was said.
  sendImplicitHead() {
    if (this.headersSent) return;
    if (this.statusCode !== 200 || this.fields.size > 0) this.sendHead();
    this.headersSent = true;
  }

  _write(chunk, encoding, done) {
    this.hasWritten = true;
    this.sendImplicitHead();
    process.stdout.write(chunk, done);
  }

  _final(done) {
    this.sendImplicitHead();
    done();
  }
}

module.exports = { Response };
