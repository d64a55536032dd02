/* What this kernel, and whatever stands around us, lets a jail be made of. */
#ifndef PYJAIL_PROBE_H
#define PYJAIL_PROBE_H

/* Print one `name value` a line to stdout; 0, or 125 if that fails. Changes nothing. */
int probe(void);

#endif
