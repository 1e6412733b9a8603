//! What one check of a limit and one look-up of a verdict cost: `RESULT door <metric> <value> ns`.
//!
//! Two threads at once on one table. A check is all a request pays: hashing its key, finding the count, deciding. Each
//! round's figure is the mean of the slower thread; of the rounds the median is reported and the best shown beside it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the output is what it is for")]

mod limits;
mod rounds;
mod verdicts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    limits::run()?;
    verdicts::run()
}
