/* What a service manager wants to hear (systemd's sd_notify(3) protocol: a datagram to the socket that
 * NOTIFY_SOCKET names). Without one all calls do nothing. Written here rather than linked: it is one
 * datagram, and libsystemd would come with all it links. */
#pragma once
#include <stdint.h>

void service_tell(
    const char *state); /* "READY=1", "STOPPING=1", "RELOADING=1\n...", "WATCHDOG=1", "STATUS=..." */
void service_tell_reloading(void); /* with the time that the protocol asks for */

/* How often the manager wants WATCHDOG=1; 0: it does not. */
int64_t service_watchdog_us(void);
