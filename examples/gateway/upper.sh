#!/bin/sh
# Upper case, as it comes.
exec tr a-z A-Z
