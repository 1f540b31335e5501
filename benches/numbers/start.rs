//! From nothing to ready, what a service that rests takes of the memory, and what each open stream adds.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;

use crate::Effort;
use crate::client::Asker;
use crate::knowledge;
use crate::proc::{quiet, resident_kib};
use crate::provider::Provider;
use crate::sites;
use crate::support::process::{Server, Site};
use crate::support::wait_for;
use crate::table::{Sample, Table, ms, reach};

/// Requests that open streams at a time.
const AT_A_TIME: usize = 50;

pub(crate) async fn measure(effort: Effort) {
    let http = http();
    let (mut to_ready, mut resting) = (Sample::default(), Sample::default());
    for _ in 0..effort.pick(5, 1) {
        let site = Site::new(&sites::settings(None, None));
        let started = Instant::now();
        let server = site.serve();
        ready(&server, &http).await;
        to_ready.push(started.elapsed().as_secs_f64() * 1000.0);
        quiet(server.pid()).await;
        resting.push(resident_kib(server.pid()) / 1024.0);
    }
    let mut table = Table::new("Start and memory, embedded, without model", &["", "median", "worst"]);
    table.row(
        "start to ready, empty data directory",
        &[ms(to_ready.p50()), ms(to_ready.percentile(100))],
        reach("< 1000 ms", to_ready.p50() < 1000.0),
    );
    table.row(
        "resident, at rest",
        &[format!("{:.1} MB", resting.p50()), format!("{:.1} MB", resting.percentile(100))],
        reach("< 100 MB", resting.p50() < 100.0),
    );
    let streams = effort.pick(1000, 50);
    let (before, with) = open_streams(streams).await;
    let each = (with - before) / streams as f64;
    table.row(
        format!("resident with {streams} open streams, before and with"),
        &[format!("{:.1} MB", before / 1024.0), format!("{:.1} MB", with / 1024.0)],
        "",
    );
    table.row(
        "each open stream, both its connections included",
        &[format!("{each:.1} KiB"), String::new()],
        reach("<= 16 KiB", each <= 16.0),
    );
    table.print();
}

async fn ready(server: &Server, http: &reqwest::Client) {
    let url = server.url("/readyz");
    wait_for("the service to be ready", || async {
        http.get(&url).send().await.ok().filter(|response| response.status().is_success())
    })
    .await;
}

fn http() -> reqwest::Client {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Resident memory in KiB before the streams and while all of them are open and wait for their next frame.
async fn open_streams(streams: usize) -> (f64, f64) {
    let provider = Provider::start();
    let (site, key) = sites::plain(&provider);
    let server = site.serve();
    let asker = Asker::through(&server, &key);
    // What only the first turns need is there before, and belongs to no stream.
    provider.set(3, Duration::ZERO);
    for n in 0..20 {
        asker.ask(&knowledge::question(n), &format!("warm-{n}")).await;
    }
    quiet(server.pid()).await;
    let before = resident_kib(server.pid());
    // Longer than what follows takes, shorter than the silence after which a provider counts as lost.
    provider.set(10, Duration::from_secs(15));
    let open: Vec<reqwest::Response> = stream::iter(0..streams)
        .map(|n| {
            let asker = &asker;
            async move {
                let mut response = asker.send(&knowledge::question(n), &format!("open-{n}")).await;
                let mut read = Vec::new();
                // Content is there once the provider has answered.
                while !String::from_utf8_lossy(&read).contains(r#""type":"content""#) {
                    read.extend_from_slice(&response.chunk().await.unwrap().expect("the stream stays open"));
                }
                response
            }
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    quiet(server.pid()).await;
    let with = resident_kib(server.pid());
    drop(open);
    (before, with)
}
