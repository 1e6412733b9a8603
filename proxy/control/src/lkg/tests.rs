use super::*;
use std::os::unix::fs::PermissionsExt;

/// A settings file with a SecLang file and a CA beside it.
struct Origin {
    dir: tempfile::TempDir,
}

impl Origin {
    fn new() -> Self {
        let it = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        it.write("rules/own.conf", "# rules");
        it.site("a.example.com");
        it
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("aegis.yaml")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("makes");
        fs::write(path, text).expect("writes");
    }

    fn site(&self, host: &str) {
        let text = format!(
            "version: 1\nnode: {{ state_dir: state }}\nlisteners: [{{ address: \"127.0.0.1:8080\" }}]\n\
             sites: [{{ hosts: [{host}], origin: \"http://127.0.0.1:1\", waf: {{ mode: block, seclang: [rules/own.conf] }} }}]\n"
        );
        self.write("aegis.yaml", &text);
    }

    fn load(&self) -> Good {
        load::load(&self.path(), &BTreeMap::new()).expect("good settings")
    }

    fn store(&self) -> Store {
        Store::new(&self.dir.path().join("state"))
    }

    fn remove_originals(&self) {
        fs::remove_file(self.path()).expect("removes");
        fs::remove_dir_all(self.dir.path().join("rules")).expect("removes");
    }
}

fn newest(store: &Store, source: &Path) -> Option<Good> {
    store.generations(source).into_iter().next()
}

fn host(good: &Good) -> &str {
    &good.validated.sites[0].name
}

#[test]
fn settings_load_with_all_originals_gone() {
    let origin = Origin::new();
    let good = origin.load();
    let store = origin.store();
    assert!(newest(&store, &origin.path()).is_none());
    assert!(store.save(&origin.path(), &good).expect("saves"));
    assert!(
        !store
            .save(&origin.path(), &good)
            .expect("is the newest already")
    );
    origin.remove_originals();
    let kept = newest(&store, &origin.path()).expect("kept");
    assert_eq!(kept.validated.id, good.validated.id);
    assert_eq!(host(&kept), "a.example.com");
    for file in &kept.validated.files {
        assert_eq!(fs::read_to_string(file).expect("readable"), "# rules");
    }
}

#[test]
fn two_generations_are_kept_and_a_damaged_one_is_passed_over() {
    let origin = Origin::new();
    let store = origin.store();
    for name in ["a.example.com", "b.example.com", "c.example.com"] {
        origin.site(name);
        store.save(&origin.path(), &origin.load()).expect("saves");
    }
    let kept = store.generations(&origin.path());
    let hosts: Vec<_> = kept.iter().map(host).collect();
    assert_eq!(hosts, ["c.example.com", "b.example.com"]);
    let directories = fs::read_dir(&store.dir)
        .expect("lists")
        .flatten()
        .filter(|e| e.path().is_dir());
    assert_eq!(directories.count(), GENERATIONS);

    let directory = store.dir.join(&store.index().generations[0]);
    let blob = fs::read_dir(directory.join("blobs"))
        .expect("lists")
        .flatten()
        .next()
        .expect("a blob");
    fs::write(blob.path(), "tampered").expect("writes");
    assert_eq!(
        host(&newest(&store, &origin.path()).expect("the one before")),
        "b.example.com"
    );
}

#[test]
fn going_back_to_the_former_settings_makes_them_the_newest() {
    let origin = Origin::new();
    let store = origin.store();
    for name in ["a.example.com", "b.example.com", "a.example.com"] {
        origin.site(name);
        assert!(store.save(&origin.path(), &origin.load()).expect("saves"));
    }
    assert_eq!(
        host(&newest(&store, &origin.path()).expect("kept")),
        "a.example.com"
    );
}

#[test]
fn nobody_else_can_read_what_is_kept() {
    let origin = Origin::new();
    let store = origin.store();
    store.save(&origin.path(), &origin.load()).expect("saves");
    let mut queue = vec![store.dir];
    let mut files = 0;
    while let Some(path) = queue.pop() {
        let meta = fs::metadata(&path).expect("there");
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            queue.extend(
                fs::read_dir(path)
                    .expect("lists")
                    .flatten()
                    .map(|entry| entry.path()),
            );
        } else {
            files += 1;
        }
    }
    assert!(files >= 4);
}

#[test]
fn a_lost_or_broken_index_is_made_up_from_what_is_there() {
    let origin = Origin::new();
    let store = origin.store();
    store.save(&origin.path(), &origin.load()).expect("saves");
    let index = store.dir.join("index.json");
    for broken in [None, Some("{"), Some(r#"{"generations":["../../etc"]}"#)] {
        match broken {
            None => fs::remove_file(&index).expect("removes"),
            Some(text) => fs::write(&index, text).expect("writes"),
        }
        assert!(newest(&store, &origin.path()).is_some(), "{broken:?}");
    }
}

#[test]
fn another_file_is_not_served_from_these_generations() {
    let origin = Origin::new();
    let store = origin.store();
    store.save(&origin.path(), &origin.load()).expect("saves");
    assert!(newest(&store, Path::new("/etc/aegis/other.yaml")).is_none());
}

#[test]
fn what_changed_while_it_was_copied_is_not_kept() {
    let origin = Origin::new();
    let good = origin.load();
    origin.write("rules/own.conf", "# other rules");
    let error = origin
        .store()
        .save(&origin.path(), &good)
        .expect_err("is not what was loaded");
    assert!(
        error.to_string().contains("changed while it was copied"),
        "{error}"
    );
    assert!(newest(&origin.store(), &origin.path()).is_none());
}

#[test]
fn a_write_that_was_cut_off_leaves_the_former_generation() {
    let origin = Origin::new();
    let store = origin.store();
    store.save(&origin.path(), &origin.load()).expect("saves");
    let name = "0".repeat(64);
    fs::create_dir_all(store.dir.join(format!(".{name}.new/blobs"))).expect("makes");
    fs::create_dir_all(store.dir.join(&name)).expect("makes");
    assert_eq!(
        host(&newest(&store, &origin.path()).expect("kept")),
        "a.example.com"
    );
    origin.site("b.example.com");
    store.save(&origin.path(), &origin.load()).expect("saves");
    assert!(!store.dir.join(name).exists());
}
