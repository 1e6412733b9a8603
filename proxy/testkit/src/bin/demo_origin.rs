//! `aegis-demo-origin [ip:port]`: the demo shop alone.
#![forbid(unsafe_code)]

use anyhow::Context;
use std::net::SocketAddr;

fn main() -> anyhow::Result<()> {
    let address: SocketAddr = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .with_context(|| format!("{text} is not ip:port"))?,
        None => aegis_testkit::ports::free_address(),
    };
    let shop = aegis_testkit::demo::serve(address);
    eprintln!("the demo shop is at {}", shop.url());
    loop {
        std::thread::park();
    }
}
