//! Turns made durable: the spool's group commit against one write and one sync for each.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use turnpike::domain::Event;
use turnpike::ports::outbox::Outbox;
use turnpike::spool::{Keep, Spool};

use crate::Effort;
use crate::sites::turn;
use crate::table::{Sample, Table, ms, ratio, reach};

/// Size of a turn's event as it is written, in bytes.
const BYTES: usize = 2048;
const COMMITTERS: [usize; 3] = [1, 16, 256];
/// Turns a second that group commit has to reach.
const TARGET: f64 = 2000.0;

/// What one way has made durable so far.
#[derive(Default)]
struct Made {
    seconds: f64,
    waits_ms: Sample,
}

impl Made {
    fn per_second(&self) -> f64 {
        self.waits_ms.len() as f64 / self.seconds
    }
}

pub(crate) async fn measure(effort: Effort) {
    // The system's folder for temporary files may be memory, where a sync costs nothing.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let spool = Spool::open(&dir.path().join("spool"), 8 << 20, u64::MAX, Keep::UntilForwarded).unwrap();
    let event = Arc::new(event());
    let payload = serde_json::to_vec(&*event).unwrap();
    let rounds = effort.pick(5, 1);
    let time = Duration::from_millis(effort.pick(500, 200));
    let mut single = Made::default();
    let mut grouped: [Made; COMMITTERS.len()] = Default::default();
    let file = dir.path().join("one-by-one");
    for _ in 0..rounds {
        let (file, payload) = (file.clone(), payload.clone());
        let round = tokio::task::spawn_blocking(move || one_by_one(&file, &payload, time)).await.unwrap();
        add(&mut single, round);
        for (made, committers) in grouped.iter_mut().zip(COMMITTERS) {
            add(made, commit(&spool, &event, committers, time).await);
        }
    }
    spool.close();

    let title = format!("Turns made durable, records of {} bytes ({rounds} rounds of each)", payload.len());
    let mut table = Table::new(title, &["", "a second", "ratio", "wait p50", "wait p99"]);
    let row = |made: &Made| {
        let numbers = [made.per_second(), made.waits_ms.p50(), made.waits_ms.p99()];
        [format!("{:.0}", numbers[0]), ratio(numbers[0], single.per_second()), ms(numbers[1]), ms(numbers[2])]
    };
    table.row("one by one: write, fsync", &row(&single), "");
    for (made, committers) in grouped.iter().zip(COMMITTERS) {
        let target = match committers {
            1 => ">= 2,000 a second, in groups".to_owned(),
            _ => reach(">= 2,000 a second", made.per_second() >= TARGET),
        };
        table.row(format!("spool, {committers} at a time"), &row(made), target);
    }
    table.print();
}

fn add(made: &mut Made, (seconds, waits): (f64, Vec<f64>)) {
    made.seconds += seconds;
    made.waits_ms.extend(waits);
}

fn one_by_one(path: &std::path::Path, payload: &[u8], time: Duration) -> (f64, Vec<f64>) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let started = Instant::now();
    let mut waits = Vec::new();
    while started.elapsed() < time {
        let before = Instant::now();
        file.write_all(payload).unwrap();
        file.sync_all().unwrap();
        waits.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    (started.elapsed().as_secs_f64(), waits)
}

async fn commit(spool: &Spool, event: &Arc<Event>, committers: usize, time: Duration) -> (f64, Vec<f64>) {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..committers {
        let (spool, event) = (spool.clone(), Arc::clone(event));
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while started.elapsed() < time {
                let before = Instant::now();
                spool.commit(&event).await.unwrap();
                waits.push(before.elapsed().as_secs_f64() * 1000.0);
            }
            waits
        });
    }
    let waits = tasks.join_all().await.concat();
    (started.elapsed().as_secs_f64(), waits)
}

/// The event that ends a turn, as long as `BYTES` by the length of the answer.
fn event() -> Event {
    let mut record = turn("session-of-a-customer");
    record.answer.clear();
    loop {
        let event = Event::turn_finished(&record, None).unwrap();
        if serde_json::to_vec(&event).unwrap().len() >= BYTES {
            return event;
        }
        record.answer.push_str("Lãi suất năm đầu là 7,5 %. ");
    }
}
