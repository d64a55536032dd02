// Messages on descriptor 3: a JSON object a line, of at most 64 KiB. They are for whoever runs the service; that
// nobody listens is no fault of the service's.
'use strict';

const fs = require('node:fs');
const { inspect } = require('node:util');

const MESSAGES = 3;
const MAX_TEXT = 8192;

function tell(message) {
  const line = Buffer.from(`${JSON.stringify(message)}\n`);
  try {
    for (let at = 0; at < line.length;) at += fs.writeSync(MESSAGES, line, at);
  } catch {
    // Closed, or not there.
  }
}

// Whatever was thrown, as texts.
function describe(error) {
  let name = 'Error';
  let message;
  let stack;
  try {
    if (error instanceof Error || (typeof error === 'object' && error !== null && 'message' in error)) {
      name = String(error.name ?? name);
      message = String(error.message);
      stack = String(error.stack ?? `${name}: ${message}`);
    } else {
      message = typeof error === 'string' ? error : inspect(error);
    }
  } catch {
    message = 'an error that cannot be shown';
  }
  stack ??= `${name}: ${message}`;
  return { name: name.slice(0, MAX_TEXT), message: message.slice(0, MAX_TEXT), stack: stack.slice(0, MAX_TEXT) };
}

module.exports = { tell, describe };
