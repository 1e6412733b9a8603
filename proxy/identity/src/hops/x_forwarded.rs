//! `X-Forwarded-For` and its companions, which no standard describes: lists, each proxy adding to the right.

use super::{Claims, Doubt, Hops, Node, Walk, address, host, scheme};

pub(super) fn walk(hops: &Hops, claims: &Claims<'_>) -> Walk {
    let mut walk = Walk::default();
    let taken = hops.follow(values(&claims.x_for).map(node), &mut walk);
    let told = values(&claims.x_for).count();
    walk.scheme = beside(&claims.x_proto, taken, told).and_then(scheme);
    walk.host = beside(&claims.x_host, taken, told)
        .and_then(host)
        .map(Into::into);
    walk
}

/// All values from the right; empty ones do not count (RFC 9110 §5.6.1).
fn values<'a>(lines: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let parts = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|&b| b == b','));
    parts
        .map(<[u8]>::trim_ascii)
        .filter(|value| !value.is_empty())
}

fn node(value: &[u8]) -> Result<Node, Doubt> {
    let text = std::str::from_utf8(value).map_err(|_| Doubt::Unreadable)?;
    if text.eq_ignore_ascii_case("unknown") {
        return Ok(Node::Nobody);
    }
    address(text, true)
        .map(Node::Address)
        .ok_or(Doubt::Unreadable)
}

/// The value that stands beside the client where every proxy added one; else the last proxy's.
fn beside<'a>(lines: &'a [&'a [u8]], taken: usize, told: usize) -> Option<&'a str> {
    let place = if taken > 1 && values(lines).count() == told {
        taken - 1
    } else {
        0
    };
    std::str::from_utf8(values(lines).nth(place)?).ok()
}
