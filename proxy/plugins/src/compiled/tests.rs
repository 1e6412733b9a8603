use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const WASM: &str = "(module (func (export \"f\") (result i32) (i32.const 7)))";

fn origin(cache: &Compiled, wasm: &[u8]) -> Made {
    cache.module(&Engine::default(), wasm).expect("compiles").1
}

fn file(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir)
        .expect("dir")
        .filter_map(|e| Some(e.ok()?.path()));
    files
        .find(|path| path.extension().is_some_and(|e| e == SUFFIX))
        .expect("a compiled module")
}

/// As whoever wants to be taken for us would: another file under the same name.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("removes");
    fs::write(path, bytes).expect("writes");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

#[test]
fn a_module_is_compiled_once_and_survives_a_restart() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    assert_eq!(
        origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
        Made::Built
    );
    assert_eq!(
        origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
        Made::Cached
    );
    let mode = |path: PathBuf| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(
        (mode(dir.path().join(KEY_FILE)), mode(file(dir.path()))),
        (0o600, 0o600)
    );
}

#[test]
fn a_cut_changed_or_foreign_file_is_compiled_anew_and_mended() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    let cache = Compiled::open(dir.path()).expect("opens");
    origin(&cache, &wasm);
    let path = file(dir.path());
    let good = fs::read(&path).expect("reads");
    let mut changed = good.clone();
    *changed.last_mut().expect("long") ^= 1;
    let mut headless = good.clone();
    headless[0] ^= 1;
    // A note that is said to be longer than the file, and one that takes a byte of the code.
    let note_len = good.len() - 48;
    let mut long_note = good.clone();
    long_note[note_len..note_len + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut other_note = good.clone();
    other_note[note_len] += 1;
    // Real machine code under the MAC of another node.
    let other = tempfile::tempdir().expect("dir");
    origin(&Compiled::open(other.path()).expect("opens"), &wasm);
    let foreign = fs::read(file(other.path())).expect("reads");
    for bad in [
        &good[..good.len() / 2],
        &good[..20],
        &[],
        &changed,
        &headless,
        &long_note,
        &other_note,
        &foreign,
    ] {
        replace(&path, bad);
        assert_eq!(origin(&cache, &wasm), Made::Built);
        assert_eq!(origin(&cache, &wasm), Made::Cached);
    }
}

#[test]
fn a_file_of_another_module_is_not_taken() {
    let dir = tempfile::tempdir().expect("dir");
    let cache = Compiled::open(dir.path()).expect("opens");
    let first = wat::parse_str(WASM).expect("wat");
    origin(&cache, &first);
    let (path, good) = (file(dir.path()), fs::read(file(dir.path())).expect("reads"));
    fs::remove_file(path).expect("removes");
    let second = wat::parse_str("(module)").expect("wat");
    origin(&cache, &second);
    replace(&file(dir.path()), &good);
    assert_eq!(origin(&cache, &second), Made::Built);
}

#[test]
fn a_key_that_others_can_read_is_replaced() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    origin(&Compiled::open(dir.path()).expect("opens"), &wasm);
    let key = dir.path().join(KEY_FILE);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    assert_eq!(
        origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
        Made::Built
    );
    fs::write(&key, b"short").expect("writes");
    assert_eq!(
        origin(&Compiled::open(dir.path()).expect("opens"), &wasm),
        Made::Built
    );
}

#[test]
fn old_modules_make_room() {
    let dir = tempfile::tempdir().expect("dir");
    let cache = Compiled::open(dir.path()).expect("opens");
    for n in 0..FILES_MAX + 3 {
        let wasm = wat::parse_str(format!("(module (func (export \"f{n}\")))")).expect("wat");
        origin(&cache, &wasm);
    }
    let files = fs::read_dir(dir.path()).expect("dir").count();
    assert_eq!(files, FILES_MAX + 1, "modules and the key");
}

#[test]
fn a_file_of_another_engine_is_not_taken() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    let cache = Compiled::open(dir.path()).expect("opens");
    origin(&cache, &wasm);
    // What another wasmtime, CPU or setting of the compiler makes has another name …
    let mut config = wasmtime::Config::new();
    let other = Engine::new(config.epoch_interruption(true)).expect("an engine");
    let entry = Entry::of_module(&other, &wasm);
    assert_ne!(entry, Entry::of_module(&Engine::default(), &wasm));
    assert!(cache.load(&other, entry).is_none());
    // … and under that name the seal is another one.
    fs::rename(file(dir.path()), cache.path(entry)).expect("renames");
    assert!(cache.load(&other, entry).is_none());
    // Not even wasmtime would take it, had we sealed it so.
    let code = Engine::default()
        .precompile_module(&wasm)
        .expect("compiles");
    let tail = trusted::seal(&cache.key, &entry.0, &code, b"");
    replace(&cache.path(entry), &[code, tail].concat());
    assert!(cache.load(&other, entry).is_none());
}

#[test]
fn a_file_that_others_may_write_or_that_is_a_link_is_not_taken() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    let cache = Compiled::open(dir.path()).expect("opens");
    origin(&cache, &wasm);
    let path = file(dir.path());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).expect("chmod");
    assert_eq!(origin(&cache, &wasm), Made::Built);
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("renames");
    std::os::unix::fs::symlink(&elsewhere, &path).expect("links");
    assert_eq!(origin(&cache, &wasm), Made::Built);
    assert_eq!(origin(&cache, &wasm), Made::Cached);
}

#[test]
fn a_note_comes_back_with_its_code() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    let cache = Compiled::open(dir.path()).expect("opens");
    let engine = Engine::default();
    let entry = Entry::new(&engine, "a test", b"1");
    cache
        .compile(&engine, entry, &wasm, || b"a note".to_vec())
        .expect("compiles");
    let (module, note) = cache.load(&engine, entry).expect("kept");
    assert_eq!(note, b"a note");
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("starts");
    let f = instance
        .get_typed_func::<(), i32>(&mut store, "f")
        .expect("f");
    assert_eq!(f.call(&mut store, ()).expect("runs"), 7);
}

#[test]
fn a_folder_that_cannot_be_written_costs_time_and_not_the_module() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    let cache = Compiled::open(&dir.path().join("gone")).expect("opens");
    fs::remove_dir_all(dir.path().join("gone")).expect("removes");
    assert_eq!(origin(&cache, &wasm), Made::Built);
    assert_eq!(origin(&cache, &wasm), Made::Built);
}

#[test]
fn what_was_used_longest_ago_goes_first_and_bytes_are_bounded_too() {
    let dir = tempfile::tempdir().expect("dir");
    let cache = Compiled::open(dir.path()).expect("opens");
    let at = |name: &str, age: u64, len: u64| {
        let path = dir.path().join(name).with_extension(SUFFIX);
        let file = fs::File::create(&path).expect("creates");
        file.set_len(len).expect("sparse");
        let when = SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(when).expect("dated");
        path
    };
    let (old, middle, young) = (at("a", 30, 1), at("b", 20, BYTES_MAX / 2), at("c", 10, 1));
    let keep = at("d", 0, BYTES_MAX / 2);
    // Exactly the bound, but for the two bytes of the others.
    cache.prune(&keep).expect("prunes");
    let there = [&old, &middle, &young, &keep].map(|path| path.exists());
    assert_eq!(there, [false, false, true, true]);
}

#[test]
fn what_a_process_that_died_left_half_written_is_removed() {
    let dir = tempfile::tempdir().expect("dir");
    let at = |name: &str, age: u64| {
        let path = dir.path().join(name);
        let file = fs::File::create(&path).expect("creates");
        let when = SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(when).expect("dated");
        path
    };
    let there = |paths: &[PathBuf]| paths.iter().map(|path| path.exists()).collect::<Vec<_>>();
    let first = [at("a.1.new", 660), at("b.2.new", 300), at("other", 660)];
    let cache = Compiled::open(dir.path()).expect("opens");
    assert_eq!(there(&first), [false, true, true]);
    let keep = at("c.cwasm", 0);
    let second = [at("d.3.new", 660), at("e.4.new", 300)];
    cache.prune(&keep).expect("prunes");
    assert_eq!(there(&second), [false, true]);
}

#[test]
fn files_that_are_being_written_at_once_have_names_of_their_own() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("a.cwasm");
    let name = || key::write_new(&path, &[b"x"]).expect("writes");
    let (first, second) = (name(), name());
    assert_ne!(first, second);
    let pid = format!("a.{}-", std::process::id());
    for new in [first, second] {
        let name = new
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert!(name.ends_with(".new") && !name.starts_with(&pid), "{name}");
    }
}

fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo")
        .arg("-m")
        .arg("600")
        .arg(path)
        .status();
    assert!(made.expect("mkfifo").success());
}

#[test]
fn a_pipe_in_the_place_of_the_key_or_a_module_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().expect("dir");
    let wasm = wat::parse_str(WASM).expect("wat");
    pipe(&dir.path().join(KEY_FILE));
    let cache = Compiled::open(dir.path()).expect("opens");
    origin(&cache, &wasm);
    let path = file(dir.path());
    fs::remove_file(&path).expect("removes");
    pipe(&path);
    assert_eq!(origin(&cache, &wasm), Made::Built);
    assert_eq!(origin(&cache, &wasm), Made::Cached);
    let key = fs::metadata(dir.path().join(KEY_FILE)).expect("there");
    assert!(key.is_file());
}

#[test]
fn a_folder_that_is_open_to_others_is_closed_and_one_of_somebody_else_refused() {
    let dir = tempfile::tempdir().expect("dir");
    for open in [0o755, 0o770, 0o1777] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(open)).expect("chmod");
        Compiled::open(dir.path()).expect("opens");
        let mode = fs::metadata(dir.path()).expect("there").mode() & 0o7777;
        assert_eq!(mode, 0o700, "was {open:o}");
    }
    let owner = fs::metadata(dir.path()).expect("there").uid();
    key::make_private(dir.path(), owner).expect("ours");
    let refused = key::make_private(dir.path(), owner + 1).expect_err("not ours");
    let said = refused.to_string();
    assert!(
        said.contains(&format!("belongs to user {owner}")) && said.contains("chown"),
        "{said}"
    );
}
