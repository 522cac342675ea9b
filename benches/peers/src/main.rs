//! The command line: see the README.

use std::process::ExitCode;
use std::time::Duration;

use m2m_peers::contender::Recipe;
use m2m_peers::fixture::Fixture;
use m2m_peers::measure::{Row, count_instructions, rows};
use m2m_peers::report::{self, Measured};
use m2m_peers::store::commits;
use m2m_peers::store::compare::write_until_killed;
use m2m_peers::timing::Effort;
use m2m_peers::{ours, peers, pki, requests, secrets, sets, software, store};

const USAGE: &str = "\
m2m-peers list [filter]          the ids of the contenders
m2m-peers time [filter]          time and allocations
m2m-peers instructions [filter]  the same and instructions, if valgrind is installed
m2m-peers facts                  memory, two threads, a reader beside a writer
m2m-peers count <id> <n>         runs one contender n times, for valgrind
m2m-peers store                  durable commits, the feed, reopening, and the engines
m2m-peers store commits <n>      only the first of these, in n rounds
m2m-peers store reopen <n>       only the third, with n revocations
m2m-peers pki                    certificates and CRLs, by the programs that m2m-pki has for that; puts
                                 them into docs/BENCHMARKS.md
m2m-peers report                 measures everything and writes docs/BENCHMARKS.md";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let fixture = Fixture::new();
    match arguments.as_slice() {
        ["list", filter @ ..] => {
            for recipe in chosen(filter) {
                println!("{}", recipe.id);
            }
        }
        ["time", filter @ ..] => print(rows(&chosen(filter), &fixture, effort())),
        ["instructions", filter @ ..] => {
            let mut rows = rows(&chosen(filter), &fixture, effort());
            count_instructions(&mut rows, &fixture);
            print(rows);
        }
        ["report"] => return report(&fixture),
        ["facts"] => println!("{:#?}", ours::facts(&fixture)),
        ["store"] => println!("{}", report::of_store(store::measure(store::now(&fixture)))),
        ["store", "commits", rounds] => return commits(rounds),
        ["store", "reopen", count] => return reopen(count, &fixture),
        ["pki"] => return of_pki(),
        // What `store` starts, to kill it.
        ["store-writer", name, directory] => write_until_killed(name, directory.as_ref()),
        ["count", id, times] => return count(id, times, fixture),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn report(fixture: &Fixture) -> ExitCode {
    let mut measured = Measured {
        rows: rows(&recipes(), fixture, effort()),
        facts: ours::facts(fixture),
        store: Some(store::measure(store::now(fixture))),
        software: software::measure(),
        pki: pki::measure(),
    };
    count_instructions(&mut measured.rows, fixture);
    match report::write(&measured) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the report cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn of_pki() -> ExitCode {
    let said = pki::measure();
    let written = report::rewrite_pki(&said);
    println!("{}", report::of_pki(said));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the page cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn recipes() -> Vec<Recipe> {
    let mut recipes = peers::recipes();
    for ours in ours::recipes() {
        // Behind the last one of its group, so that groups stay together.
        let last = recipes
            .iter()
            .rposition(|recipe| recipe.group() == ours.group());
        recipes.insert(last.map_or(recipes.len(), |last| last + 1), ours);
    }
    recipes.extend(sets::recipes());
    recipes.extend(requests::recipes());
    recipes.extend(secrets::recipes());
    recipes
}

fn effort() -> Effort {
    Effort {
        rounds: 200,
        slice: Duration::from_millis(2),
    }
}

/// The contenders whose id contains `filter`, and with them what their group is compared with.
fn chosen(filter: &[&str]) -> Vec<Recipe> {
    let matches = |id: &str| filter.iter().all(|part| id.contains(part));
    let recipes = recipes();
    let groups: Vec<String> = recipes
        .iter()
        .filter(|recipe| matches(&recipe.id))
        .map(|recipe| recipe.group().to_owned())
        .collect();
    let mut previous = String::new();
    recipes
        .into_iter()
        .filter(|recipe| {
            let first = recipe.group() != previous;
            previous = recipe.group().to_owned();
            matches(&recipe.id) || (first && groups.iter().any(|group| group == &previous))
        })
        .collect()
}

/// With fewer revocations and secrets: their number does not change the count, and valgrind is slow.
fn count(id: &str, times: &str, mut fixture: Fixture) -> ExitCode {
    fixture.revoked = 100_000;
    fixture.secrets = 1_000;
    let recipes = recipes();
    let (Some(recipe), Ok(times)) = (recipes.iter().find(|recipe| recipe.id == id), times.parse())
    else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    (recipe.make(&fixture).run)(times);
    ExitCode::SUCCESS
}

fn commits(rounds: &str) -> ExitCode {
    let Ok(rounds) = rounds.parse() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    println!("{:#?}", commits::measure(rounds));
    ExitCode::SUCCESS
}

fn reopen(count: &str, fixture: &Fixture) -> ExitCode {
    let Ok(count) = count.parse() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    println!("{:#?}", store::reopen::measure(count, store::now(fixture)));
    ExitCode::SUCCESS
}

fn print(rows: Vec<Row>) {
    for Row {
        id,
        calm,
        ratio,
        allocations,
        instructions,
    } in &rows
    {
        let instructions = instructions.map_or(String::new(), |count| format!("{count:>10} instr"));
        println!("{id:<48} {calm:>11.0} ns {ratio:>8.3}x {allocations:>6.0} alloc {instructions}");
    }
    print!("\n{}", report::of_rows(rows));
}
