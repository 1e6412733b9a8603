//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;

/// The command line makes no sense (sysexits(3)).
pub(crate) const EX_USAGE: u8 = 64;
/// The settings are wrong (sysexits(3)).
pub(crate) const EX_CONFIG: u8 = 78;

/// The settings file when none is named.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/aegis/aegis.yaml";

const EXAMPLES: &str = "\
Examples:
  aegis run --origin http://127.0.0.1:3000       protect a local site, no file needed
  aegis run -c aegis.yaml                        serve what the file says; edits go live
  aegis check -c aegis.yaml                      list everything wrong with it
  aegis explain https://shop.example.com/login   which site, route and rules, and why
  aegis explain 01JD8Z3V6Q…                      why a request was stopped
  aegis status                                   how the running node is
  aegis why 203.0.113.9                          whether and why an address is banned
  aegis ban 203.0.113.0/24 --for 10m             turn a network away

Exit codes: 0 done, 1 failed, 64 wrong usage, 78 wrong settings.";

/// An edge proxy: TLS, a web application firewall in a sandbox, a cache, and an explanation for every block.
#[derive(Debug, Parser)]
#[command(name = "aegis", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM; SIGHUP reads the settings again
    Run(Run),
    /// List everything that is wrong with a settings file
    Check(Check),
    /// Say what happens to a URL, or what happened to a request
    Explain(Explain),
    /// Say how the running node is
    Status(Asking),
    /// Say whether an address is banned, by whom, why and until when
    Why(Why),
    /// Turn an address or a network away
    Ban(Ban),
    /// Let an address or a network in, whatever rules say
    Allow(Allow),
    /// Take back a ban or an allow
    Unban(Unban),
    /// Bans and allows in force
    #[command(subcommand)]
    Verdicts(Verdicts),
    /// What the rules of the WAF do, and how to let a request through
    #[command(subcommand)]
    Waf(Waf),
    /// Say which versions are at work
    Version(Version),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aegis why 203.0.113.9
  aegis why 2001:db8::7 -o json")]
pub(crate) struct Why {
    /// Address of a client
    #[arg(value_name = "IP")]
    pub(crate) address: IpAddr,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aegis ban 203.0.113.9                                 a day, on every site
  aegis ban 203.0.113.0/24 --for 10m --reason scans
  aegis ban 2001:db8:1:2::/64 --site shop.example.com --for ever

A ban that covers the address you are connected from, or what this node needs (its own addresses, trusted proxies, origins,
its gateway), is refused without --force.")]
pub(crate) struct Ban {
    #[command(flatten)]
    pub(crate) put: Put,
    /// Also what may not be banned
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aegis allow 198.51.100.7                              a day, whatever rules say
  aegis allow 198.51.100.0/24 --for ever --reason office
  aegis allow 198.51.100.7 --site shop.example.com      on that site only

Limits and the WAF hold for whom you allow too.")]
pub(crate) struct Allow {
    #[command(flatten)]
    pub(crate) put: Put,
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// Address or network: IPv4 /8 to /32, IPv6 /32 to /128
    #[arg(value_name = "IP|NETWORK")]
    pub(crate) prefix: String,
    /// How long: 10m, 12h, 30d, or ever [default: 1d]
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) length: Option<String>,
    /// On this site only, known by its first host
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aegis unban 203.0.113.9                               wherever it is banned or allowed
  aegis unban 203.0.113.0/24 --site shop.example.com    on that site only")]
pub(crate) struct Unban {
    /// Address or network, exactly as it was banned or allowed
    #[arg(value_name = "IP|NETWORK")]
    pub(crate) prefix: String,
    /// On this site only
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<String>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Waf {
    /// Which rules fire, and what each costs
    #[command(after_help = "\
Examples:
  aegis waf top                                 those that match most
  aegis waf top --by cost                       those that take most time, of all that are asked
  aegis waf top --site shop.example.com -o json

Costs are those of one request in waf.measure_every. Everything is since the node began.")]
    Top(Top),
    /// Print the setting that would have let a request through
    #[command(after_help = "\
Examples:
  aegis waf exclude 01JD8Z3V6Q5G7J0K2M4N6P8R0S")]
    Exclude(Exclude),
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// On this site only, known by its first host
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// What comes first
    #[arg(long, value_enum, default_value_t = TopBy::Fired)]
    pub(crate) by: TopBy,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopBy {
    /// What matches most
    Fired,
    /// What takes most time
    Cost,
}

#[derive(Debug, Args)]
pub(crate) struct Exclude {
    /// Id of the request
    #[arg(value_name = "REQUEST")]
    pub(crate) request: String,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verdicts {
    /// List them
    #[command(after_help = "\
Examples:
  aegis verdicts list --by rule
  aegis verdicts list --in 203.0.113.0/24 -o json")]
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those of this site; `node` = those of every site
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// Only bans, or only allows
    #[arg(long, value_name = "KIND", value_parser = ["ban", "allow"])]
    pub(crate) kind: Option<String>,
    /// Those of this author; `rule` and `operator` = of any such
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Those within this network
    #[arg(long = "in", value_name = "NETWORK")]
    pub(crate) within: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aegis run --origin http://127.0.0.1:3000
  aegis run --origin http://10.0.0.5:8080 --origin http://10.0.0.6:8080 --listen [::]:80 --listen-tls [::]:443
  aegis run -c /etc/aegis/aegis.yaml

Without a file: https on [::]:8443 with a self-signed certificate, http on [::]:8080, the WAF blocks, 256 MiB of cache,
10,000 requests in 10 s for one address.")]
pub(crate) struct Run {
    /// Settings file [default: /etc/aegis/aegis.yaml, if no --origin is given]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Serve this origin without a file; repeat it for more servers of one pool
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub(crate) origin: Vec<String>,
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Process log as JSON
    #[arg(long)]
    pub(crate) log_json: bool,
}

/// What stands in for a file.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Plain HTTP address; may be repeated
    #[arg(
        long,
        value_name = "ADDR",
        requires = "origin",
        conflicts_with = "config"
    )]
    pub(crate) listen: Vec<String>,
    /// HTTPS address; may be repeated
    #[arg(
        long,
        value_name = "ADDR",
        requires = "origin",
        conflicts_with = "config"
    )]
    pub(crate) listen_tls: Vec<String>,
    /// What the web application firewall does [default: block]
    #[arg(
        long,
        value_name = "MODE",
        requires = "origin",
        conflicts_with = "config"
    )]
    pub(crate) waf: Option<WafMode>,
    /// Whether an address may ask only so much [default: on, 10,000 requests in 10 s]
    #[arg(
        long,
        value_name = "MODE",
        requires = "origin",
        conflicts_with = "config"
    )]
    pub(crate) limits: Option<OnOff>,
    /// Where certificates and compiled modules are kept
    #[arg(
        long,
        value_name = "DIR",
        requires = "origin",
        conflicts_with = "config"
    )]
    pub(crate) state_dir: Option<PathBuf>,
    /// Address of /metrics and the probes, on loopback
    #[arg(
        long,
        value_name = "ADDR",
        requires = "origin",
        conflicts_with = "config"
    )]
    pub(crate) metrics: Option<String>,
    /// Unix socket of `aegis status` and `aegis explain`
    #[arg(
        long,
        value_name = "PATH",
        requires = "origin",
        conflicts_with = "config"
    )]
    pub(crate) admin_socket: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WafMode {
    /// Attacks get 403
    Block,
    /// Attacks are written down and let through
    Detect,
    /// Not run; needs no module
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// It holds
    On,
    /// It does not, as behind another proxy, where all clients have one address
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Settings file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// Do not compile and start modules and SecLang, which can take a minute the first time
    #[arg(long)]
    pub(crate) quick: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aegis explain https://shop.example.com/api/cart -c aegis.yaml     from the file; no node needs to run
  aegis explain https://shop.example.com/api/cart                   from the running node
  aegis explain 01JD8Z3V6Q5G7J0K2M4N6P8R0S                          a request id, from the running node")]
pub(crate) struct Explain {
    /// A URL, or the id of a request
    #[arg(value_name = "URL|REQUEST")]
    pub(crate) what: String,
    /// Method of the request
    #[arg(short = 'X', long, default_value = "GET")]
    pub(crate) method: String,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

/// How a running node is found and how the answer is printed.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// Settings file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Admin socket of the running node [default: as the settings say]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// State directory of the running node, if it was started with --state-dir
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    pub(crate) state_dir: Option<PathBuf>,
    /// File that holds a token of node.admin.tokens [default: the environment variable AEGIS_TOKEN, if it is set]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_running_node_is_found_by_its_socket_or_its_state_directory() {
        let parse = |args: &str| Cli::try_parse_from(args.split(' '));
        assert!(parse("aegis status --state-dir /tmp/x").is_ok());
        assert!(parse("aegis explain http://a/ --socket /tmp/x/admin.sock").is_ok());
        assert!(parse("aegis status --socket /tmp/x/admin.sock --state-dir /tmp/x").is_err());
    }

    #[test]
    fn flags_that_stand_in_for_a_file_need_an_origin_and_exclude_a_file() {
        let parse = |args: &str| Cli::try_parse_from(args.split(' '));
        assert!(
            parse(
                "aegis run --origin http://a --origin http://b --listen 1 --listen-tls 2 --waf off"
            )
            .is_ok()
        );
        assert!(parse("aegis run").is_ok());
        assert!(parse("aegis run --waf off").is_err());
        assert!(parse("aegis run -c f --origin http://a").is_err());
        assert!(parse("aegis run --origin http://a --waf maybe").is_err());
    }
}
