//! A played plan, in words.

use std::path::Path;

use grapher::Style;

use super::duration;
use super::plan::span;
use crate::simulate::{ChainLink, LimitedBy, PlayedSchedule, SimulationDocument, StartCause};
use report::counted;

/// More builds of a chain than this are cut.
const LINKS: usize = 20;

/// Returns a played plan in words; `file` is where every build's start is, where that was written.
pub fn simulation_text(document: &SimulationDocument, style: &Style, file: Option<&Path>) -> String {
    let SimulationDocument { simulation, others, guessed, .. } = document;
    let schedule = &simulation.schedule;
    if simulation.builds.is_empty() {
        return "nothing to build, so there is no schedule to play; `--rebuild-list='NAMES'` plays builds of what is up to date".to_owned();
    }
    let mut lines = style.lines(
        "",
        &format!(
            "{} played with {}: {}, workers busy {} of the time",
            counted(simulation.builds.len(), "build"),
            counted(schedule.workers, "worker"),
            span(schedule.makespan_seconds),
            percent(schedule.utilisation)
        ),
    );
    let mut rows: Vec<&PlayedSchedule> = others.iter().chain([schedule]).collect();
    rows.sort_by_key(|row| row.workers);
    lines.extend(table(&rows, schedule.workers));
    lines.extend(chain_lines(&simulation.chain, style));
    if !simulation.never_started.is_empty() {
        let text = format!("these wait for one another: {}", style.names(&simulation.never_started));
        lines.push(String::new());
        lines.extend(style.lines("", &text));
    }
    lines.push(String::new());
    let mut note = "each build is taken to be as long as its last one, whatever runs beside it".to_owned();
    if *guessed > 0 {
        let packages = counted(*guessed, "package");
        note.push_str(&format!("; for {packages} that were never built this is a guess"));
    }
    lines.extend(style.lines("note: ", &note));
    let place = file.map(|file| format!("every build's start and end is in {}", file.display()));
    lines.extend(place.iter().flat_map(|place| style.lines("note: ", place)));
    lines.join("\n")
}

/// Returns a line for each number of workers; the one that was asked for is marked.
fn table(rows: &[&PlayedSchedule], asked: usize) -> Vec<String> {
    let header =
        ["workers", "processors", "memory", "time", "at least", "busy", "limited by"].map(str::to_owned);
    let cells: Vec<[String; 7]> = std::iter::once(header)
        .chain(rows.iter().map(|row| {
            [
                row.workers.to_string(),
                row.cpus.to_string(),
                memory(row.memory_bytes),
                duration(row.makespan_seconds),
                duration(row.at_least_seconds),
                percent(row.utilisation),
                match row.limited_by {
                    LimitedBy::LongestChain => "longest chain".to_owned(),
                    LimitedBy::Work => "work".to_owned(),
                },
            ]
        }))
        .collect();
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let line = |row: &[String; 7]| {
        let mark = if row[0] == asked.to_string() { "* " } else { "  " };
        let numbers: Vec<String> =
            (0..6).map(|column| format!("{:>1$}", row[column], width(column))).collect();
        format!("{mark}{}  {}", numbers.join("  "), row[6])
    };
    [String::new()].into_iter().chain(cells.iter().map(line)).collect()
}

/// Returns the chain of builds that the end waits for.
fn chain_lines(chain: &[ChainLink], style: &Style) -> Vec<String> {
    let mut lines = vec![String::new(), "the end waits for this chain:".to_owned()];
    // Of a long chain both ends are of interest.
    let shown = style.shown_of(chain.len(), LINKS);
    let (first, last) = (shown.div_ceil(2), shown / 2);
    let width = chain.iter().map(|link| link.package.len()).max().unwrap_or_default();
    let start = chain.iter().map(|link| duration(link.start_seconds).len()).max().unwrap_or_default();
    let takes = chain.iter().map(|link| duration(link.seconds).len()).max().unwrap_or_default();
    for (place, link) in chain.iter().enumerate() {
        if shown < chain.len() && place == first {
            lines.push(format!("  ... and {} between (--all shows all)", chain.len() - shown));
        }
        if shown < chain.len() && (first..chain.len() - last).contains(&place) {
            continue;
        }
        let cause = match &link.cause {
            StartCause::Beginning => String::new(),
            StartCause::Needs(package) => format!("needs {package}"),
            StartCause::Room(package) => format!("had no room before {package} ended"),
        };
        let line = format!(
            "  at {:>start$}  {:width$}  {:>takes$}  {cause}",
            duration(link.start_seconds),
            link.package,
            duration(link.seconds)
        );
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn percent(part: f64) -> String {
    format!("{:.0}\u{a0}%", part * 100.0).replace('\u{a0}', " ")
}

fn memory(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::Capacity;
    use crate::queue::Queue;
    use crate::simulate::{Simulation, simulate};
    use crate::testing::task;

    fn text_of(simulation: Simulation, others: &[PlayedSchedule], whole: bool) -> String {
        let (schema, others) = (SimulationDocument::SCHEMA, others.to_vec());
        let document = SimulationDocument { schema, guessed: 2, simulation, others };
        simulation_text(&document, &Style { width: 80, whole }, Some(Path::new("simulation.json")))
    }

    fn machine(slots: usize) -> Capacity {
        Capacity { slots, cpus: 2, memory_bytes: 6 << 30 }
    }

    #[test]
    fn a_played_plan_says_how_long_and_what_the_end_waits_for() {
        let queue =
            || Queue::new([task("zlib", &[]), task("libpng", &["zlib"]), task("jq", &[]), task("sed", &[])]);
        let others = [simulate(queue(), &machine(1)).schedule];
        let text = text_of(simulate(queue(), &machine(2)), &others, false);
        assert_eq!(
            text,
            "\
4 builds played with 2 workers: 2.0 s, workers busy 100 % of the time

  workers  processors   memory   time  at least   busy  limited by
        1           2  6.0 GiB  4.0 s     4.0 s  100 %  work
*       2           2  6.0 GiB  2.0 s     2.0 s  100 %  longest chain

the end waits for this chain:
  at 0.0 s  zlib    1.0 s
  at 1.0 s  libpng  1.0 s  needs zlib

note: each build is taken to be as long as its last one, whatever runs beside
      it; for 2 packages that were never built this is a guess
note: every build's start and end is in simulation.json"
        );
    }

    #[test]
    fn of_a_long_chain_both_ends_are_shown() {
        let names: Vec<String> = (0..50).map(|number| format!("p{number:02}")).collect();
        let tasks = names.iter().enumerate().map(|(place, name)| {
            let before: Vec<&str> = names[..place].last().map(String::as_str).into_iter().collect();
            task(name, &before)
        });
        let simulation = simulate(Queue::new(tasks), &machine(2));
        let text = |whole| text_of(simulation.clone(), &[], whole);
        let cut = text(false);
        assert!(cut.contains("  ... and 30 between (--all shows all)\n  at  40 s  p40"), "{cut}");
        assert!(!cut.contains("p39  1.0 s") && !cut.contains(" p10  "), "{cut}");
        assert!(text(true).contains(" p30  "), "{}", text(true));
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let text = text_of(simulate(Queue::new([]), &machine(1)), &[], false);
        assert!(
            text.starts_with("nothing to build, so there is no schedule to play; `--rebuild-list="),
            "{text}"
        );
    }
}
