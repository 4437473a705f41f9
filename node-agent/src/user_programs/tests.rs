use std::thread::sleep;

use super::*;

fn lane(path: &str) -> Lane {
    let at = ProgramAddress::Symbol("main".to_owned());
    Lane::first(HookPoint::Uprobe { path: path.to_owned(), at, when: When::Entry })
}

/// Places and lanes without programs in the kernel, which these tests don't need.
fn wanting(places: &[(Root, &str)]) -> UserPrograms {
    let mut programs = UserPrograms::default();
    for (root, path) in places {
        let known = Known {
            lanes: [lane(path)].into(),
            due: Instant::now(),
            pause: SOON,
            states: BTreeMap::new(),
            failed: BTreeMap::new(),
            stuck: Weak::new(),
        };
        programs.places.insert(*root, known);
    }
    programs
}

fn states(programs: &UserPrograms, root: Root) -> Vec<&State> {
    programs.places[&root].states.values().collect()
}

/// Gives every place the same answer; one never answers.
fn searching(silent: Root) -> Searching {
    Arc::new(move |search, _| {
        if search.root == silent {
            sleep(Duration::from_hours(1));
        }
        let path = if search.root.is_some() { "/a" } else { "/host" };
        Found { populated: true, states: [(lane(path), State::Attached)].into(), ..Found::default() }
    })
}

#[test]
fn a_place_that_does_not_answer_delays_the_others_once() {
    let mut programs = wanting(&[(None, "/host"), (Some(7), "/a"), (Some(8), "/a")]);
    let searching = searching(Some(7));
    let folder = |_| Some(PathBuf::from("/"));
    let start = Instant::now();
    while programs.places[&Some(7)].due <= start {
        programs.advance(&searching, folder, start);
    }
    assert!(programs.is_busy());
    // Time passes for it, and it is given up.
    let later = start + PATIENCE + Duration::from_secs(1);
    for _ in 0..200 {
        programs.advance(&searching, folder, later);
    }
    assert_eq!(states(&programs, None), [&State::Attached]);
    assert_eq!(states(&programs, Some(8)), [&State::Attached]);
    assert!(matches!(states(&programs, Some(7))[..], [State::Failed(_)]));
    // It isn't searched again, also when all others are.
    let again = later + 10 * AGAIN;
    for _ in 0..200 {
        programs.advance(&searching, folder, again);
    }
    assert!(!programs.is_busy() && programs.left.len() == 1);
}

#[test]
fn places_are_searched_soon_and_then_less_often() {
    let mut programs = wanting(&[(Some(8), "/a")]);
    let searching = searching(None);
    let start = programs.places[&Some(8)].due;
    let mut searches = Vec::new();
    for step in 0..200_u32 {
        let now = start + step * SOON;
        if programs.places[&Some(8)].due <= now {
            searches.push(step);
        }
        while programs.is_busy() || programs.places[&Some(8)].due <= now {
            programs.advance(&searching, |_| Some(PathBuf::from("/")), now);
        }
    }
    assert_eq!(searches, [0, 1, 3, 7, 15, 31, 63, 103, 143, 183]);
}

#[test]
fn a_cgroup_that_is_gone_is_not_searched() {
    let mut programs = wanting(&[(Some(8), "/a")]);
    assert!(!programs.advance(&searching(None), |_| None, Instant::now()));
    assert!(states(&programs, Some(8)).is_empty() && !programs.is_busy());
    programs.want(Vec::new(), Instant::now());
    assert!(programs.is_idle());
}
