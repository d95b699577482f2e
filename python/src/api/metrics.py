# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F821 - `functions` and `settings` are put into the namespace before this runs
"""What `mod_wsgi.process_metrics()`, `mod_wsgi.request_metrics()` and `mod_wsgi.server_metrics()`
return, made of the numbers that the Rust code has."""

import os
import time


def resident_memory():
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def process_start():
    """When this process was started, in seconds since the epoch."""
    with open("/proc/self/stat", "rb") as file:
        # The name of the program, in parentheses, may have anything in it.
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def process_metrics():
    numbers = functions.process_numbers()
    if numbers is None:
        return None
    threads = [
        {"thread_id": number, "request_count": count}
        for number, count, *_ in numbers["threads"]
        if count
    ]
    cpu = os.times()
    now, start = time.time(), process_start()
    return {
        "pid": os.getpid(),
        "request_busy_time": numbers["busy"] / 1e6,
        "request_count": numbers["completed"],
        "memory_rss": resident_memory(),
        "memory_max_rss": numbers["memory_max_rss"],
        "cpu_user_time": cpu.user,
        "cpu_system_time": cpu.system,
        "cpu_time": cpu.user + cpu.system,
        "restart_time": start,
        "current_time": now,
        "running_time": int(now - start),
        "request_threads": len(threads),
        "active_requests": sum(1 for thread in numbers["threads"] if thread[6]),
        "threads": threads,
    }


def request_metrics():
    numbers = functions.interval_numbers()
    if numbers is None:
        return None
    period = max((numbers["stop"] - numbers["start"]) / 1e6, 1e-6)
    user, system = (used / 1e6 / period for used in numbers["cpu"])
    input_bytes, input_reads, output_bytes, output_writes = numbers["traffic"]
    threads = numbers["threads"]
    maximum = settings["threads"]
    metrics = {
        "pid": os.getpid(),
        "start_time": numbers["start"] / 1e6,
        "stop_time": numbers["stop"] / 1e6,
        "sample_period": period,
        "cpu_user_utilization": user,
        "cpu_system_utilization": system,
        "cpu_utilization": user + system,
        # These names hold the same ratios, as with mod_wsgi.
        "cpu_user_time": user,
        "cpu_system_time": system,
        "cpu_time": user + system,
        "memory_rss": resident_memory(),
        "memory_max_rss": numbers["memory_max_rss"],
        "request_threads_maximum": maximum,
        "request_threads_started": sum(1 for thread in threads if thread[1]),
        "request_threads_active": sum(1 for thread in threads if thread[3] or thread[2]),
        # A service has no threads for requests.
        "capacity_utilization": sum(thread[3] for thread in threads)
        / 1e6
        / period
        / max(maximum, 1),
        "request_count": numbers["completed"],
        "request_throughput": numbers["completed"] / period,
        "input_bytes": input_bytes,
        "input_reads": input_reads,
        "output_bytes": output_bytes,
        "output_writes": output_writes,
        "gil_wait_count": numbers["gil_waits"],
    }
    for digit, count in enumerate(numbers["statuses"], 1):
        metrics[f"status_{digit}xx"] = count
    for name, ((count, total, shortest, longest), buckets) in numbers["phases"].items():
        # Embedded mode has no queue, and no daemon.
        is_there = settings["is_daemon"] or name not in ("queue", "daemon")
        mean = total / count / 1e6 if count else 0.0
        metrics[f"{name}_time"] = mean if is_there else None
        metrics[f"{name}_time_min_us"] = shortest if count else None
        metrics[f"{name}_time_max_us"] = longest if count else None
        metrics[f"{name}_time_buckets"] = buckets
    metrics.update(by_slot(threads, maximum, numbers["stop"]))
    return metrics


def by_slot(threads, maximum, now):
    """Lists with a place for each thread that there can be."""
    completed = [0] * maximum
    busy, cpu, elapsed, longest = ([0.0] * maximum for _ in range(4))
    for number, _, count, busy_time, cpu_time, duration, start in threads:
        slot = number - 1
        if 0 <= slot < maximum:
            completed[slot] = count
            busy[slot] = busy_time / 1e6
            cpu[slot] = cpu_time / 1e6
            longest[slot] = duration / 1e6
            if start:
                elapsed[slot] = max(now - start, 0) / 1e6
    return {
        "request_threads_completed": completed,
        "request_threads_buckets": completed,
        "request_threads_busy_time": busy,
        "request_threads_cpu_time": cpu,
        "request_threads_current_elapsed": elapsed,
        "request_threads_max_duration": longest,
    }


def server_metrics():
    numbers = functions.server_numbers()
    if numbers is None:
        return None
    (server_limit, thread_limit, generation, restart_time), processes = numbers
    now, start = time.time(), restart_time / 1e6
    return {
        "server_limit": server_limit,
        "thread_limit": thread_limit,
        "running_generation": generation,
        "restart_time": start,
        "current_time": now,
        "running_time": int(now - start),
        "processes": [
            {
                "process_num": number,
                "pid": pid,
                "generation": generation,
                "quiescing": bool(is_quiescing),
                "workers": [worker_metrics(*facts) for facts in workers],
            }
            for number, ((pid, generation, is_quiescing), workers) in enumerate(processes)
        ],
    }


def worker_metrics(
    thread, generation, accesses, served, start, stop, used, status, client, request, vhost
):
    return {
        "thread_num": thread,
        "generation": generation,
        "status": status,
        "access_count": accesses,
        "bytes_served": served,
        "start_time": start / 1e6,
        "stop_time": stop / 1e6,
        "last_used": used / 1e6,
        "client": client,
        "request": request,
        "vhost": vhost,
    }
