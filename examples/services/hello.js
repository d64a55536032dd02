// The smallest service in JavaScript: what is returned is the response's body.
//
//   pyjail service run --param name=World examples/services/hello.js
'use strict';

module.exports = (req) => `Hello, ${req.params.name ?? 'whoever you are'}!\n`;
