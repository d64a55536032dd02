/* The steps of a launch, by the names that outcomes, messages and fault injection use, and what each was doing. */
#ifndef PYJAIL_STEP_H
#define PYJAIL_STEP_H

#include <stdbool.h>
#include <stdint.h>

#define STEPS(X)                                                                \
    X(STEP_NONE, "none", "do nothing")                                          \
    X(STEP_PLAN, "plan", "read the plan")                                       \
    X(STEP_STDIO, "stdio", "use descriptor")                                    \
    X(STEP_PASS_FD, "pass-fd", "pass descriptor")                               \
    X(STEP_LIFE_FD, "life-fd", "watch descriptor")                              \
    X(STEP_LISTEN, "listen-fds", "take over the sockets of LISTEN_FDS")         \
    X(STEP_NOTIFY, "notify", "reach the service manager at NOTIFY_SOCKET")     \
    X(STEP_NAME, "name", "have others find the run by the name")                \
    X(STEP_CONTROL_FD, "control-fd", "take requests from descriptor")           \
    X(STEP_OUTCOME, "outcome", "write the outcome to")                          \
    X(STEP_COMMAND, "command", "prepare the command")                           \
    X(STEP_SIGNALS, "signals", "take over signals")                             \
    X(STEP_IDS, "ids", "let the jail have its caller's ids, who is root")        \
    X(STEP_UID_POOL, "uid-pool", "reserve a user id for this run with")         \
    X(STEP_SOURCE, "source", "open the source")                                 \
    X(STEP_OWNER, "owner", "map the owner of")                                  \
    X(STEP_SCOPE, "scope", "move into a scope by")                              \
    X(STEP_CGROUP, "cgroup", "make a cgroup for")                               \
    X(STEP_CGROUP_SET, "cgroup-set", "set")                                     \
    X(STEP_CPU_TIME, "cpu-time", "count the CPU time for")                      \
    X(STEP_AUDIT, "audit", "audit the system calls of")                         \
    X(STEP_CHANNEL, "channel", "make the control channel")                      \
    X(STEP_RELAY, "relay", "stand between the payload's output and the caller")  \
    X(STEP_CLONE, "clone", "create the namespaces")                             \
    X(STEP_ID_MAP, "id-map", "map the jail's ids")                              \
    X(STEP_CGROUP_JOIN, "cgroup-join", "move the jail into its cgroup for")     \
    X(STEP_RAISE, "raise", "raise the limit")                                   \
    X(STEP_NETWORK, "network", "create the network namespace")                  \
    X(STEP_IPC, "ipc", "create the IPC namespace")                              \
    X(STEP_GO, "go", "hear from the supervisor")                                \
    X(STEP_CREDENTIALS, "credentials", "take on the jail's ids")                \
    X(STEP_PROPAGATION, "propagation", "make the mounts private")               \
    X(STEP_ROOT, "root", "make the root")                                       \
    X(STEP_MOUNT, "mount", "mount")                                             \
    X(STEP_NODE, "node", "make")                                                \
    X(STEP_SEAL, "seal", "make the root read-only")                             \
    X(STEP_PIVOT, "pivot", "change to the new root")                            \
    X(STEP_PTY, "pty", "open a terminal for the jail")                          \
    X(STEP_CGROUP_NS, "cgroup-namespace", "create the cgroup namespace")        \
    X(STEP_HOSTNAME, "hostname", "set the host name")                           \
    X(STEP_LOOPBACK, "loopback", "bring the loopback interface up")             \
    X(STEP_KEYRING, "keyring", "join a session keyring of its own")             \
    X(STEP_DESCRIPTORS, "descriptors", "close the other descriptors")           \
    X(STEP_CAPABILITIES, "capabilities", "drop the capabilities")               \
    X(STEP_NO_NEW_PRIVS, "no-new-privs", "set no_new_privs")                    \
    X(STEP_SESSION, "session", "start a session")                               \
    X(STEP_FORK, "fork", "fork the payload")                                    \
    X(STEP_INIT, "init", "start the jail's init")                               \
    X(STEP_HANDOVER, "handover", "take over the command")                       \
    X(STEP_CWD, "cwd", "change to the folder")                                  \
    X(STEP_RLIMIT, "rlimit", "set the limit")                                   \
    X(STEP_LANDLOCK, "landlock", "apply Landlock to")                           \
    X(STEP_READY, "ready", "hear from the jail's init")                         \
    X(STEP_LISTENER, "listener", "hand over the audit of system calls")         \
    X(STEP_SECCOMP, "seccomp", "load the seccomp filter")                       \
    X(STEP_EXEC, "exec", "execute")

enum step {
#define STEP_ID(id, name, phrase) id,
    STEPS(STEP_ID)
#undef STEP_ID
        STEP_COUNT
};

const char *step_name(enum step step);
const char *step_phrase(enum step step);

/* What a failed step reports, also across the pipe from inside the jail: a fixed size, no pointers. */
struct failure {
    uint32_t step, line; /* the plan's line, or 0 */
    int32_t error;       /* positive errno, or 0 */
    uint32_t number;     /* a descriptor or signal where the step has one */
};

/* For the fault-injection build: whether this step is the one that must fail now. */
#ifdef PYJAIL_FAULT
bool step_fault(enum step step);
bool fault_lacks(const char *call); /* as if the kernel had no such thing: PYJAIL_FAULT_LACKS */
void step_fault_select(char **envp);
enum step step_fault_of_commands(void); /* PYJAIL_FAULT_COMMAND_STEP: for further commands alone */
void step_fault_take(enum step step);
#else
static inline bool step_fault(enum step step)
{
    (void)step;
    return false;
}
static inline bool fault_lacks(const char *call)
{
    (void)call;
    return false;
}
static inline void step_fault_select(char **envp)
{
    (void)envp;
}
static inline enum step step_fault_of_commands(void)
{
    return STEP_NONE;
}
static inline void step_fault_take(enum step step)
{
    (void)step;
}
#endif

#endif
