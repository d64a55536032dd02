"""What the tests that start real jails share: users, an installation both may read, a launcher, host-side
eyes."""
