"""A service: waits to be told to leave, and tells the log what it sees."""

import atexit
import signal
import threading
import time

signal.signal(signal.SIGALRM, signal.SIG_IGN)
is_main = threading.current_thread() is threading.main_thread()
is_kept = signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
atexit.register(print, "service: at exit", flush=True)
try:
    print(f"service: main thread {is_main}, handler kept {is_kept}", flush=True)
    while True:
        time.sleep(600)
except SystemExit:
    print("service: SystemExit", flush=True)
    raise
