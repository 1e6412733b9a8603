//! `aegis run`: find the settings, then hand over to [`crate::app`].

use super::default_state_dir;
use crate::cli::{DEFAULT_CONFIG, EX_CONFIG, EX_USAGE, OnOff, Run, WafMode};
use crate::{app, organs, terminal};
use aegis_certs::Times;
use aegis_control::{Boot, Copies};
use aegis_settings::{Flags, Problem};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(args: &Run) -> anyhow::Result<ExitCode> {
    let default = default_state_dir();
    let found = if args.origin.is_empty() {
        let path = args.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
        let name = path.display().to_string();
        let check =
            |validated: &_, copies: &_| organs::check(validated, copies, &name, Times::Serve);
        aegis_control::boot(path, &default, &check).map_err(|p| (p, EX_CONFIG))
    } else {
        from_flags(args)
    };
    match found {
        Ok(boot) => app::run(boot, default, args.log_json),
        Err((problems, code)) => {
            terminal::say(&aegis_settings::render(
                &problems,
                terminal::stderr_coloured(),
            ));
            Ok(ExitCode::from(code))
        }
    }
}

fn from_flags(args: &Run) -> Result<Boot, (Vec<Problem>, u8)> {
    let flags = Flags {
        origins: args.origin.clone(),
        listen: args.flags.listen.clone(),
        listen_tls: args.flags.listen_tls.clone(),
        waf: args.flags.waf.map(|mode| word(mode).to_owned()),
        limits_off: args.flags.limits == Some(OnOff::Off),
        state_dir: args.flags.state_dir.clone(),
        metrics: args.flags.metrics.clone(),
        admin_socket: args.flags.admin_socket.clone(),
    };
    let validated = aegis_settings::from_flags(&flags).map_err(|problems| (problems, EX_USAGE))?;
    let problems: Vec<_> = organs::check(&validated, &Copies::new(), "command line", Times::Serve)
        .into_iter()
        .filter(Problem::is_error)
        .collect();
    if problems.is_empty() {
        Ok(Boot::from_flags(validated))
    } else {
        Err((problems, EX_CONFIG))
    }
}

const fn word(mode: WafMode) -> &'static str {
    match mode {
        WafMode::Block => "block",
        WafMode::Detect => "detect",
        WafMode::Off => "off",
    }
}
