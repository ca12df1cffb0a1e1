//! Tests of pulls, from a registry of one image in this process.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bollard::query_parameters::RemoveImageOptionsBuilder;
use cyclometer_workload::hex;
use sha2::{Digest, Sha256};

use super::super::tests::bench;
use super::*;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

/// Registry with an index of two platforms, of which only this machine's can be had.
#[derive(Default)]
struct Registry {
    /// Content and its type by the last part of its path.
    content: HashMap<String, (&'static str, Vec<u8>)>,
}

impl Registry {
    fn with_image() -> Self {
        let mut registry = Self::default();
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        archive.append_data(&mut header, "x", &b"abc"[..]).expect("memory");
        let layer = archive.into_inner().expect("memory");
        let machine = machine_architecture();
        let config = format!(
            r#"{{"architecture":"{machine}","os":"linux","config":{{"Cmd":["/x"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest(&layer)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{},"digest":"{}"}}]}}"#,
            config.len(),
            digest(config.as_bytes()),
            layer.len(),
            digest(&layer)
        );
        let entry = |architecture: &str, digest: &str| {
            format!(
                r#"{{"mediaType":"{MANIFEST}","size":{},"digest":"{digest}","platform":{{"architecture":"{architecture}","os":"linux"}}}}"#,
                manifest.len()
            )
        };
        let other = digest(b"nothing that there is");
        let ours = digest(manifest.as_bytes());
        let index = |entries: &[String]| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
                entries.join(",")
            )
        };
        let both = index(&[entry("s390x", &other), entry(machine, &ours)]);
        registry.add("1", INDEX, both.into_bytes());
        registry.add("foreign", INDEX, index(&[entry("s390x", &other)]).into_bytes());
        registry.add("manifest", MANIFEST, manifest.clone().into_bytes());
        registry.add("config", "application/octet-stream", config.into_bytes());
        registry.add("layer", "application/octet-stream", layer);
        registry
    }

    fn add(&mut self, name: &str, kind: &'static str, content: Vec<u8>) {
        self.content.insert(digest(&content), (kind, content.clone()));
        self.content.insert(name.to_owned(), (kind, content));
    }

    /// Serves it as long as this process lives, and returns its address.
    fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let registry = Arc::new(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let registry = Arc::clone(&registry);
                std::thread::spawn(move || registry.answer(stream));
            }
        });
        address
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let name = path.rsplit('/').next().unwrap_or_default();
        let found = self.content.get(name);
        let missing = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let missing = ("application/json", missing.to_vec());
        let (kind, content) = found.unwrap_or(&missing);
        let status = if found.is_some() || path == "/v2/" { "200 OK" } else { "404 Not Found" };
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Docker-Content-Digest: {}\r\nConnection: close\r\n\r\n",
            content.len(),
            digest(content)
        )?;
        if method == "GET" {
            stream.write_all(content)?;
        }
        Ok(())
    }
}

#[test]
fn an_index_of_several_platforms_gives_the_image_of_this_machine() {
    let Some(bench) = bench(None) else { return };
    let engine = &bench.lane.engine;
    let address = Registry::with_image().serve();
    let (name, cancel) = (format!("{address}/me/fn:1"), Cancel::default());
    let mut seen = Vec::new();
    let pulled = pull_from(engine, &name, &mut |progress| seen.push(*progress), &cancel);
    let config = pulled.expect("pulled");
    assert_eq!((config.command.as_slice(), config.workdir.as_str()), (&["/x".to_owned()][..], "/"));
    println!("{}", seen.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let last = seen.last().expect("progress");
    assert_eq!((last.layers, last.layers_done), (1, 1));
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    engine.block_on(engine.docker.remove_image(&name, Some(options), None)).expect("removed");

    let fails = |name: &str| {
        let told = pull_from(engine, name, &mut |_| (), &cancel).expect_err("not pulled");
        let told = told.to_string();
        println!("{told}");
        assert!(told.len() < 600 && !told.contains('\n'), "{told}");
        told
    };
    let told = fails(&format!("{address}/me/fn:foreign"));
    assert!(told.contains("no matching manifest") && told.contains("build it for"), "{told}");
    assert!(fails(&format!("{address}/me/fn:9")).contains("is its name right?"));
    assert!(fails("127.0.0.1:1/me/fn:1").contains("does not reach its registry"));
    assert!(fails("../x").contains("is no name of an image"));
    cancel.cancel();
    let stopped = pull_from(engine, &format!("{address}/me/fn:1"), &mut |_| (), &cancel);
    // It may have been faster than the request to stop.
    assert!(matches!(stopped, Err(LaneError::Cancelled) | Ok(_)), "{stopped:?}");
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    let _ = engine.block_on(engine.docker.remove_image(&name, Some(options), None));
}

#[test]
fn one_tag_is_asked_for() {
    let machine = machine_architecture();
    let path = |reference: &str| request_path(reference);
    let end = format!("&platform=linux/{machine}");
    let one =
        |reference: &str, tag: &str| format!("/images/create?fromImage={reference}{tag}{end}");
    assert_eq!(path("debian"), one("debian", "&tag=latest"));
    assert_eq!(path("localhost:5000/fn"), one("localhost:5000/fn", "&tag=latest"));
    assert_eq!(path("debian:12"), one("debian:12", ""));
    assert_eq!(path("a/b@sha256:0a"), one("a/b@sha256:0a", ""));
}

#[test]
fn progress_never_goes_back_and_has_bounds() {
    let mut layers = LayerTable::default();
    let line = |id: &str, status: &str, progress| PullLine {
        status: status.to_owned(),
        id: Some(id.to_owned()),
        progress,
        error: None,
    };
    layers.note(line("latest", "Pulling from library/debian", None));
    layers.note(line("a", "Pulling fs layer", None));
    layers.note(line("b", "Already exists", None));
    assert_eq!(layers.progress().to_string(), "1 of 2 layers");
    layers.note(line("a", "Downloading", Some((3 << 20, 8 << 20))));
    layers.note(line("a", "Downloading", Some((2 << 20, 8 << 20))));
    assert_eq!(layers.progress().to_string(), "1 of 2 layers, 3.00 MiB of 8.00 MiB");
    // While it is extracted, the numbers are those of the extraction.
    layers.note(line("a", "Extracting", Some((1, 8 << 20))));
    layers.note(line("a", "Pull complete", None));
    assert_eq!(layers.progress().to_string(), "2 of 2 layers, 8.00 MiB of 8.00 MiB");
    for at in 0..2 * MOST_LAYERS {
        layers.note(line(&at.to_string(), "Downloading", Some((u64::MAX, u64::MAX))));
    }
    assert_eq!(layers.progress().layers, MOST_LAYERS);
}
