//! Look-ups among a million verdicts: rules' bans of addresses and /64s, and operators' networks of many lengths.

use crate::rounds::measure;
use aegis_verdicts::{
    Asked, Author, Kind, NeverBan, Prefix, Scope, Table, Terms, Verdict, VerdictError,
    read_snapshot, write_snapshot,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

const NOW: u64 = 1_800_000_000_000;
const OPERATIONS: u64 = 2_000_000;

/// A client: three in four over IPv4; those over IPv6 from as many /32s as there are customers of the registries, about.
fn address(random: &mut fastrand::Rng) -> IpAddr {
    if random.u8(0..4) == 0 {
        let provider = u128::from(0x2000_0000 | u32::from(random.u16(..)) << 8) << 96;
        let rest = u128::from(random.u32(..)) << 64 | u128::from(random.u64(..));
        Ipv6Addr::from_bits(provider | rest).into()
    } else {
        Ipv4Addr::from_bits(random.u32(0x1000_0000..0xE000_0000)).into()
    }
}

/// One in fifty a network of an operator's, as block lists have them; the others what rules make.
fn verdict(random: &mut fastrand::Rng) -> Result<Verdict, VerdictError> {
    let address = address(random);
    let operator = random.u8(0..50) == 0;
    let length = match (operator, address) {
        (false, IpAddr::V4(_)) => 32,
        (false, IpAddr::V6(_)) => 64,
        (true, IpAddr::V4(_)) => random.u8(18..=30),
        (true, IpAddr::V6(_)) => random.u8(40..=63),
    };
    let id: String = (0..26).map(|_| random.alphanumeric()).collect();
    Ok(Verdict {
        kind: Kind::Ban,
        prefix: Prefix::around(address, length)?,
        scope: Scope::Node,
        author: if operator {
            Author::Operator("ann".into())
        } else {
            Author::Rule("waf".into())
        },
        reason: if operator {
            "block list".into()
        } else {
            "5 WAF blocks in 60 s".into()
        },
        request: (!operator).then(|| id.into()),
        since: NOW,
        until: Some(NOW + 3_600_000 + random.u64(0..3_600_000)),
        l7_only: false,
        hits: 0,
    })
}

pub(crate) fn run() -> Result<(), Box<dyn std::error::Error>> {
    let before = resident_mib();
    let table = Table::new(Table::ENTRIES_MAX, [7; 16], NeverBan::new([]))?;
    let mut random = fastrand::Rng::with_seed(1);
    let start = Instant::now();
    let mut known = Vec::with_capacity(Table::ENTRIES_MAX);
    while table.stats().entries < Table::ENTRIES_MAX {
        // Rules' bans within operators' networks are refused, as they should be.
        let verdict = verdict(&mut random)?;
        let address = verdict.prefix.address();
        if table.put(verdict, Terms::default(), NOW).is_ok() {
            known.push(address);
        }
    }
    let took = start.elapsed();
    println!(
        "  verdicts: {} MiB for {} of them",
        resident_mib() - before,
        table.stats().entries
    );
    println!(
        "  verdicts: {:.1} us each to put",
        took.as_micros() as f64 / known.len() as f64
    );
    // In random order, but walked from front to back: the bench's own list is not to cost what is measured.
    random.shuffle(&mut known);
    let look = |banned: fn(&mut fastrand::Rng) -> bool| {
        let (table, known) = (&table, &known);
        move |mut random: fastrand::Rng, operations| {
            let mut known = known.iter().cycle().skip(random.usize(0..known.len()));
            (0..operations).fold(0, |hits, _| {
                let known = banned(&mut random).then(|| known.next().copied()).flatten();
                let address = known.unwrap_or_else(|| address(&mut random));
                let asked = Asked::Request {
                    site: "shop.example.com",
                };
                hits + u64::from(table.judge(address, asked, NOW + 1).is_some())
            })
        }
    };
    // One client in ten is banned, and unlike real ones none comes twice in a row.
    measure(
        "verdict_lookup_ns_1m",
        OPERATIONS,
        look(|random| random.u8(0..10) == 0),
    );
    measure("verdict_lookup_banned_ns_1m", OPERATIONS, look(|_| true));
    measure("verdict_lookup_unknown_ns_1m", OPERATIONS, look(|_| false));
    let mut bytes = Vec::new();
    let start = Instant::now();
    write_snapshot(&table, NOW, 0, &mut bytes)?;
    let written = start.elapsed();
    let verdicts = read_snapshot(&bytes)?;
    let again = Table::new(Table::ENTRIES_MAX, [8; 16], NeverBan::new([]))?;
    let kept = again.restore(verdicts, NOW).kept;
    println!(
        "  verdicts: snapshot of {} MiB written in {} ms, {kept} read and restored in {} ms",
        bytes.len() >> 20,
        written.as_millis(),
        (start.elapsed() - written).as_millis()
    );
    Ok(())
}

fn resident_mib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    (pages.unwrap_or(0) * rustix::param::page_size()) >> 20
}
