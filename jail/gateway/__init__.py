"""The HTTP gateway, `pyjail serve`: each request is answered by a service in a jail of its own. See
docs/gateway.md. Needs the extra `pyjail-linux[serve]`; nothing else imports this package."""
