//! Power cuts: of what was not synced, anything may be on the disk.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use crate::{
    trial::{Finding, Kill, Random, Trial, kills},
    worker::Store,
};

const PAGE: usize = 4096;

/// The library that watches a worker's disk; the compiler that builds SQLite builds it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults-disk.so");
        // Another run of the tests may use it now.
        let partial = library.with_extension(std::process::id().to_string());
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let built = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&partial)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c"))
            .args(["-ldl", "-lpthread"])
            .status();
        assert!(built.unwrap().success());
        fs::rename(&partial, &library).unwrap();
        library
    })
}

/// Watches a worker's disk. Gives the folder that holds what is surely on it.
pub(crate) fn watch(trial: &mut Trial) -> PathBuf {
    let disk = trial.beside("disk");
    trial.variables = vec![
        ("LD_PRELOAD", library().to_owned()),
        ("SAFER_FAULTS_FOLDER", trial.order.folder.clone()),
        ("SAFER_FAULTS_DISK", disk.clone()),
    ];
    disk
}

/// The name of a file on the disk: renaming it does not change it.
fn inode(path: &Path) -> String {
    fs::metadata(path).unwrap().ino().to_string()
}

/// Leaves of each file what was synced, of what came later some pages, and of the last of these half.
fn cut(folder: &Path, disk: &Path, random: &mut Random) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        // It need not survive a power cut.
        if path.extension().is_some_and(|end| end == "sqlite-shm") {
            fs::remove_file(&path).unwrap();
            continue;
        }
        let live = fs::read(&path).unwrap();
        let synced = fs::read(disk.join(inode(&path))).unwrap_or_default();
        let mut left = synced.clone();
        let later: Vec<usize> = (0..live.len().div_ceil(PAGE))
            .filter(|page| {
                let range = page * PAGE..live.len().min((page + 1) * PAGE);
                left.get(range.clone()) != live.get(range)
            })
            .collect();
        // Either the first pages up to a random one, or any.
        let in_order = random.below(2) == 0;
        let most = random.below(later.len() as u64 + 1) as usize;
        let kept: Vec<usize> = if in_order {
            later.into_iter().take(most).collect()
        } else {
            later.into_iter().filter(|_| random.below(2) == 0).collect()
        };
        for page in &kept {
            let range = page * PAGE..live.len().min((page + 1) * PAGE);
            left.resize(left.len().max(range.end), 0);
            left[range.clone()].copy_from_slice(&live[range]);
        }
        // Bytes that were not being written stay as they are: SQLite takes that for granted (its "powersafe
        // overwrite").
        if let Some(page) = kept.last() {
            for at in page * PAGE + PAGE / 2..left.len().min((page + 1) * PAGE) {
                if synced.get(at) != Some(&left[at]) {
                    left[at] = random.below(256) as u8;
                }
            }
        }
        fs::write(&path, left).unwrap();
    }
}

/// Cuts the power of runs so many times; a new run begins when one has ended. Gives the number of runs.
pub(crate) fn cuts(
    store: Store,
    wanted: u64,
    mut random: Random,
    prepare: impl Fn(&mut Trial),
) -> Result<u64, Finding> {
    let (mut done, mut runs) = (0, 0);
    while done < wanted {
        done += run(store, wanted - done, &mut random, &prepare)?;
        runs += 1;
    }
    Ok(runs)
}

fn run(
    store: Store,
    most: u64,
    random: &mut Random,
    prepare: impl Fn(&mut Trial),
) -> Result<u64, Finding> {
    let mut trial = Trial::new(store);
    prepare(&mut trial);
    let disk = watch(&mut trial);
    let mut cuts = 0;
    while cuts < most {
        let time = 1 + random.below(60);
        let kill = match random.below(5) {
            0 => Kill::At("committing", time),
            1 => Kill::At("committed", time),
            2 => Kill::Called(time),
            3 => Kill::Write(512 * time),
            _ => Kill::After(Duration::from_micros(random.below(200_000))),
        };
        // What is there when a machine starts is on its disk.
        let _ = fs::remove_dir_all(&disk);
        fs::create_dir_all(&disk).unwrap();
        for entry in fs::read_dir(&trial.order.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, disk.join(inode(&path))).unwrap();
            }
        }
        if !trial.session(Some(kill)).killed {
            trial.check()?;
            break;
        }
        cut(&trial.order.folder, &disk, random);
        cuts += 1;
        trial.check()?;
    }
    trial.finish()?;
    Ok(cuts)
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let wanted = kills() / 5;
    let runs = cuts(Store::Journal, wanted, Random(2), |_| {}).unwrap();
    println!("{wanted} power cuts of {runs} runs");
}

#[test]
fn a_power_cut_of_a_run_in_a_folder_loses_nothing_that_was_acknowledged() {
    let wanted = kills() / 25;
    let runs = cuts(Store::Folder, wanted, Random(2), |_| {}).unwrap();
    println!("{wanted} power cuts of {runs} runs in folders");
}
