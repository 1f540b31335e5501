//! nginx as the limit line: one worker that relays to the provider without buffering, if nginx is installed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::provider::Provider;

/// A running nginx. Dropped, it is killed.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) base_url: String,
    _dir: tempfile::TempDir,
}

impl Nginx {
    /// Starts it before the provider; none where it is not installed.
    pub(crate) fn start(provider: &Provider) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps it where only the administrator's PATH leads.
        let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let program = folders.find_map(|folder| Some(folder.join("nginx")).filter(|file| file.is_file()))?;
        let dir = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        std::fs::write(dir.path().join("nginx.conf"), config(provider, &address)).unwrap();
        // Without its master there is one process, and its processor time is all there is.
        let child = Command::new(program)
            .arg("-p")
            .arg(dir.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { child, base_url: format!("http://{address}/v1"), _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(provider: &Provider, address: &std::net::SocketAddr) -> String {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: String = folders.iter().map(|name| format!("    {name}_temp_path {name};\n")).collect();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nworker_rlimit_nofile 65536;\nevents {{ worker_connections 32768; }}\nhttp {{\n\
         {folders}    access_log off;\n    upstream llm {{ server {}; keepalive 64; }}\n    server {{\n        \
         listen {address};\n        location / {{\n            proxy_pass http://llm;\n            \
         proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n            \
         proxy_buffering off;\n        }}\n    }}\n}}\n",
        provider.address
    )
}
