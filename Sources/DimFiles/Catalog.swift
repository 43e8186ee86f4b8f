import CHDF5
import DimRuntime

/// The objects of an HDF5 file, found by walking its groups along hard links. Soft, external and user-defined links
/// may lead to other files and are refused.
struct Catalog {
    /// A dataset and the way to it.
    struct Entry {
        /// As the file has it: "state_dict/encoder.c0.weight".
        let name: String
        let object: HDF5Object
    }

    /// The group where checkpoints keep what is not weights.
    static let checkpointGroup = "checkpoint"

    /// Wrappers, network, module, parameter: real files are not deeper. A group may contain itself.
    private static let deepest = 10
    /// All parameters of the largest architecture (six networks of 64 layers), and the same again several times, for what
    /// else people store.
    private static let mostLinks = 10_000

    /// nil for a group's entries.
    private(set) var root: HDF5Object?
    private(set) var entries: [Entry] = []
    /// The root's group `checkpoint`, which holds no weights.
    private(set) var checkpoint: HDF5Object?
    /// Attributes of the root that are not this library's, a hint for a message.
    private(set) var attributes = 0
    private var links = 0
    /// Where the entries are, for messages.
    private let place: String

    init(file: HDF5Object, problems: inout Problems) {
        place = ""
        guard let root = HDF5Object(dim_h5_open_root(file.id)) else {
            problems.format("the root group is damaged (\(HDF5.lastReason))")
            return
        }
        self.root = root
        let own: [String] = [FileLabels.architecture, FileLabels.classNames]
        let ownThere = own.filter { H5Aexists(root.id, $0) > 0 }
        attributes = max(0, Int(H5Aget_num_attrs(root.id)) - ownThere.count)
        walk(root, prefix: "", depth: 0, problems: &problems)
    }

    /// The entries of a checkpoint's group, named within it.
    init(group: HDF5Object, problems: inout Problems) {
        place = Catalog.checkpointGroup + "/"
        walk(group, prefix: "", depth: 1, problems: &problems)
    }

    private mutating func walk(_ group: HDF5Object, prefix: String, depth: Int, problems: inout Problems) {
        guard depth < Catalog.deepest else {
            problems.format("\(printable(place + prefix)): groups nested deeper than \(Catalog.deepest)")
            return
        }
        var found = Links(room: Catalog.mostLinks - links)
        let outcome = withUnsafeMutablePointer(to: &found) {
            dim_h5_links(
                group.id,
                { name, isHard, data in
                    let found = data!.assumingMemoryBound(to: Links.self)
                    return found.pointee.add(String(cString: name!), isHard: isHard != 0) ? 0 : 1
                }, $0)
        }
        let whole = place.isEmpty && prefix.isEmpty ? "the root group" : "group \(printable(place + prefix))"
        guard outcome >= 0 else {
            problems.format("\(whole) is damaged (\(HDF5.lastReason))")
            return
        }
        guard !found.isOver else {
            problems.format("\(whole): more than \(Catalog.mostLinks) names; this is not a weights file")
            return
        }
        links += found.links.count
        // libhdf5 tells them in the order of hashes.
        for link in found.links.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            let name = prefix.isEmpty ? link.name : prefix + "/" + link.name
            // libhdf5 would take these for paths. Names that are not UTF-8 do not survive the way through String either,
            // and fail to open.
            guard !link.name.isEmpty, !link.name.utf8.contains(UInt8(ascii: "/")), link.name.knownName != "." else {
                problems.format("\(printable(place + name)): a damaged name")
                continue
            }
            guard link.isHard else {
                problems.format(
                    "\(printable(place + name)): a soft, external or user-defined link; links are not followed, "
                        + "store the dataset itself")
                continue
            }
            guard let object = HDF5Object(H5Oopen(group.id, link.name, dim_h5_default())) else {
                problems.format(
                    "\(printable(place + name)): cannot be opened (\(HDF5.lastReason))\(newerVersionAdvice())")
                continue
            }
            switch H5Iget_type(object.id) {
            case H5I_DATASET: entries.append(Entry(name: name, object: object))
            case H5I_GROUP where depth == 0 && link.name.knownName == Catalog.checkpointGroup: checkpoint = object
            case H5I_GROUP: walk(object, prefix: name, depth: depth + 1, problems: &problems)
            default: break
            }
        }
    }

    /// What the iteration over one group gathers.
    private struct Links {
        let room: Int
        var links: [(name: String, isHard: Bool)] = []
        var isOver = false

        mutating func add(_ name: String, isHard: Bool) -> Bool {
            guard links.count < room else {
                isOver = true
                return false
            }
            links.append((name, isHard))
            return true
        }
    }
}

/// Advice where libhdf5 refuses a version of the file format.
func newerVersionAdvice() -> String {
    let reason = HDF5.lastReason
    guard reason.mentions("version") || reason.mentions("unknown") else { return "" }
    return "; if a newer HDF5 wrote it, re-save with h5py.File(path, 'w', libver=('v110', 'v110'))"
}

extension String {
    /// Whether the bytes of `word` occur. The standard library's `contains` of a text links 1.2 MB of regular expressions.
    func mentions(_ word: StaticString) -> Bool {
        let text = Array(utf8)
        let sought = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard text.count >= sought.count else { return false }
        return (0...(text.count - sought.count)).contains { text[$0..<($0 + sought.count)].elementsEqual(sought) }
    }
}
