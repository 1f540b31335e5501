//! What the kernel says of a process.

use std::time::Duration;

/// Ticks in a second of `/proc/PID/stat`. The kernel's clock may run at another rate; what it tells programs does not.
const TICKS: f64 = 100.0;

/// Processor time that a process has used, user and system together, in milliseconds.
pub(crate) fn cpu_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold spaces; behind it come the state and then numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) * 1000.0 / TICKS
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Waits until a process has used no processor time for a while, so that what it does afterwards is counted too.
pub(crate) async fn quiet(pid: u32) {
    let mut before = cpu_ms(pid);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = cpu_ms(pid);
        if now <= before {
            return;
        }
        before = now;
    }
    eprintln!("process {pid} does not come to rest; its figures hold what it did meanwhile");
}
