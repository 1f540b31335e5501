//! What passing on through `/v1` costs, beside nginx in front of the same provider where that is installed: time to the first
//! token, processor time of a frame, memory of an open stream.

use std::time::Duration;

use futures::future::try_join_all;

use crate::Effort;
use crate::client::Asker;
use crate::frames::{self, Load, Relay};
use crate::knowledge;
use crate::nginx::Nginx;
use crate::proc::{quiet, resident_kib};
use crate::provider::Provider;
use crate::sites::{self, COMPANY};
use crate::support::process::Site;
use crate::table::{Sample, Table, ms, ratio, reach};

/// Streams that are opened at a time: more would meet a full backlog.
const OPENED_AT_ONCE: usize = 100;
/// What an open stream may take, in KiB.
const STREAM_KIB: f64 = 16.0;
/// How long the streams stay silent whose memory is measured.
const SILENCE: Duration = Duration::from_secs(150);

pub(crate) async fn measure(effort: Effort) {
    let provider = Provider::start();
    let more = "streams = 30000\nstreams_per_company = 30000\n";
    let settings = sites::settings(Some(&provider), None).replace("[limits]\n", &format!("[limits]\n{more}"));
    let site = Site::new(&settings);
    let key = site.company(COMPANY);
    let server = site.serve();
    let nginx = Nginx::start(&provider);
    let turnpike = Relay { name: "turnpike, /v1", asker: Asker::relayed(&server, &key), pid: server.pid() };
    let mut relays = vec![turnpike];
    match &nginx {
        Some(nginx) => {
            relays.push(Relay { name: "nginx", asker: Asker::direct(&nginx.base_url), pid: nginx.pid() });
        }
        None => eprintln!("SKIPPED the comparison of the relay: nginx is not installed"),
    }
    first_token(effort, &provider, &relays).await;
    processor(effort, &provider, &relays).await;
    memory(effort, &provider, &relays).await;
}

/// All take turns with the way straight to the provider, each time in another order.
async fn first_token(effort: Effort, provider: &Provider, relays: &[Relay]) {
    provider.set(3, Duration::ZERO);
    let direct = Asker::direct(&provider.base_url());
    let ways: Vec<&Asker> = std::iter::once(&direct).chain(relays.iter().map(|relay| &relay.asker)).collect();
    let (warm, rounds) = (effort.pick(100, 5), effort.pick(2000, 30));
    let mut samples: Vec<Sample> = ways.iter().map(|_| Sample::default()).collect();
    for round in 0..warm + rounds {
        let question = knowledge::question(round);
        for step in 0..ways.len() {
            let n = (round + step) % ways.len();
            let first = ways[n].ask(&question, "").await.first_content();
            if round >= warm {
                samples[n].push(first);
            }
        }
    }
    let mut table = Table::new(
        format!("First token by way of a relay ({rounds} rounds)"),
        &["", "p50", "p99", "40 ms", "p99 to nginx"],
    );
    let alone = &samples[0];
    let late = |sample: &Sample| format!("{:.1} %", 100.0 * sample.share(35.0..50.0));
    table.row("provider alone", &[ms(alone.p50()), ms(alone.p99()), late(alone), String::new()], "");
    let added = |sample: &Sample| (sample.p50() - alone.p50(), sample.p99() - alone.p99());
    let limit = samples.get(2).map(|sample| added(sample).1);
    for (relay, sample) in relays.iter().zip(&samples[1..]) {
        let (p50, p99) = added(sample);
        let compared = limit.map_or("-".to_owned(), |limit| ratio(p99, limit));
        let target = match limit {
            _ if relay.name == "nginx" => String::new(),
            Some(limit) => reach("<= 1.5x nginx at p99", p99 <= 1.5 * limit),
            None => "<= 1.5x nginx at p99: NOT MEASURED".to_owned(),
        };
        table.row(format!("added by {}", relay.name), &[ms(p50), ms(p99), late(sample), compared], target);
    }
    table.print();
}

async fn processor(effort: Effort, provider: &Provider, relays: &[Relay]) {
    let (rounds, streams) = (effort.pick(4, 1), effort.pick(50, 5));
    let loads = [
        Load { name: "20 ms apart", frames: effort.pick(200, 20), gap: Duration::from_millis(20), streams, rounds },
        Load {
            name: "as fast as they come",
            frames: effort.pick(2000, 200),
            gap: Duration::ZERO,
            streams: 8,
            rounds: effort.pick(6, 1),
        },
    ];
    let mut table = Table::new(
        "Processor time of the relaying process, plain relay",
        &["", "frames", "CPU ms per 1,000 frames", "to nginx"],
    );
    for load in &loads {
        let spent = frames::run(load, provider, relays).await;
        let limit = spent.get(1).map(|(_, value)| *value);
        for (relay, (frames, spent)) in relays.iter().zip(&spent) {
            let compared = limit.map_or("-".to_owned(), |limit| ratio(*spent, limit));
            let target = match limit {
                _ if relay.name == "nginx" => String::new(),
                _ if load.gap.is_zero() => frames::against_fastapi(*spent),
                Some(limit) => reach("<= 2x nginx", *spent <= 2.0 * limit),
                None => "<= 2x nginx: NOT MEASURED".to_owned(),
            };
            let cells = [frames.to_string(), format!("{spent:.1}"), compared];
            table.row(format!("{}, {}", relay.name, load.name), &cells, target);
        }
    }
    table.print();
}

async fn memory(effort: Effort, provider: &Provider, relays: &[Relay]) {
    // The first frame comes at once, and then nothing while it is measured.
    provider.set(2, SILENCE);
    let mut table = Table::new("Memory of open streams, plain relay", &["", "streams", "KiB before", "KiB a stream"]);
    // This process holds both ends of a relay, so a stream takes two of its files; the rest is what else it has open.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let most = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(1_000) / 2);
    for streams in [effort.pick(1_000, 50), effort.pick(10_000, 200).min(most)] {
        for relay in relays {
            quiet(relay.pid).await;
            let before = resident_kib(relay.pid);
            let mut open = Vec::with_capacity(streams);
            while open.len() < streams {
                let more = OPENED_AT_ONCE.min(streams - open.len());
                open.extend(try_join_all((0..more).map(|_| opened(&relay.asker))).await.expect("a stream opens"));
            }
            let each = (resident_kib(relay.pid) - before) / streams as f64;
            let target = if relay.name == "nginx" { String::new() } else { reach("<= 16 KiB", each <= STREAM_KIB) };
            let cells = [open.len().to_string(), format!("{before:.0}"), format!("{each:.1}")];
            table.row(relay.name, &cells, target);
            drop(open);
        }
    }
    table.print();
}

/// A stream of which the first frame has come.
async fn opened(asker: &Asker) -> Result<reqwest::Response, reqwest::Error> {
    let mut response = asker.send("x", "").await;
    let first = response.chunk().await?;
    assert!(first.is_some_and(|first| first.starts_with(b"data: ")), "the answer begins with a frame");
    Ok(response)
}
