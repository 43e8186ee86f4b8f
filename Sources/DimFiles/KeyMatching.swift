import DimArchitecture
import DimRuntime

/// Matches datasets to parameters, independently of HDF5: from names and shapes to an assignment or a list of problems.
struct KeyMatching {
    /// A dataset's name and shape; `text` describes it for a message: "int16 (64, 3, 4, 4)".
    struct Candidate {
        let name: String
        let shape: [Int]?
        let text: String
    }

    private(set) var networks: [Network] = []
    /// The parameters of `networks`, in state_dict order.
    private(set) var specs: [ParameterSpec] = []
    /// For each of `specs` the index of its candidate; nil for a missing counter.
    private(set) var assignment: [Int?] = []

    /// Put before every key by DataParallel, torch.compile, and habits of saving.
    private static let wrappers: Set<String> = ["module", "_orig_mod", "state_dict", "model"]
    /// What DataParallel and torch.compile put behind a network's name when they wrap that network alone.
    private static let innerWrappers: Set<String> = ["module", "_orig_mod"]

    private static let leaves: Set<String> = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    private static let kerasLeaves: Set<String> = ["kernel", "gamma", "beta", "moving_mean", "moving_variance"]

    private let names: ParameterNames
    private let candidates: [Candidate]
    /// Candidates by index into `names.specs`.
    private var claims: [Int: Int] = [:]

    init(_ candidates: [Candidate], _ names: ParameterNames, problems: inout Problems) {
        self.candidates = candidates
        self.names = names
        var bare: [(key: String, candidate: Int)] = []
        for (index, candidate) in candidates.enumerated() {
            sort(candidate.name, index, bare: &bare, problems: &problems)
        }
        if !bare.isEmpty { placeBare(bare, problems: &problems) }
        networks = names.wanted.filter { network in claims.keys.contains { names.specs[$0].network == network } }
        if networks.isEmpty && problems.isEmpty { problems.content(nothingFound()) }
        specs = networks.flatMap(names.specs(of:))
        for spec in specs {
            let claim = claims[names.find(spec.name)!]
            assignment.append(claim)
            if let claim {
                checkShape(candidates[claim], spec, problems: &problems)
            } else if !spec.isInteger {
                problems.content("\(spec.name): missing; expected float32 \(describe(shape: spec.shape))")
            }
        }
    }

    // MARK: One key

    /// '.' and '/' are equal; wrappers are taken off.
    private static func tokens(of name: String) -> [String] {
        var tokens = name.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "/" }.map(String.init)
        while tokens.count > 1, wrappers.contains(tokens[0]) { tokens.removeFirst() }
        if tokens.count > 1, ParameterNames.prefixes.contains(tokens[0]) {
            while tokens.count > 2, innerWrappers.contains(tokens[1]) { tokens.remove(at: 1) }
        }
        return tokens
    }

    private mutating func sort(
        _ name: String, _ candidate: Int, bare: inout [(key: String, candidate: Int)], problems: inout Problems
    ) {
        let tokens = KeyMatching.tokens(of: name.knownName)
        let key = tokens.joined(separator: ".")
        if let spec = names.find(key) {
            claim(spec, candidate, problems: &problems)
        } else if names.bareKeys.contains(key) {
            bare.append((key, candidate))
        } else if !names.isLeftOut(tokens[0]), let advice = similarity(tokens, isShown: !problems.isFull) {
            problems.content("\(printable(name)): found \(candidates[candidate].text), but \(advice)")
        }
    }

    private mutating func claim(_ spec: Int, _ candidate: Int, problems: inout Problems) {
        if let other = claims[spec] {
            problems.content(
                "\(names.specs[spec].name): listed twice, as \(printable(candidates[other].name)) and as "
                    + "\(printable(candidates[candidate].name)); keep one")
        }
        claims[spec] = candidate
    }

    /// Why a name that is no parameter's is refused all the same: it looks as if it meant one. nil for names that have
    /// nothing to do with a state_dict ("epoch", "loss/train"), which are left alone.
    private func similarity(_ tokens: [String], isShown: Bool) -> String? {
        let leaf = String(tokens.last!.prefix { $0 != ":" })
        if KeyMatching.kerasLeaves.contains(leaf) {
            return "that is Keras's way of naming; save PyTorch's state_dict, in PyTorch's names and axes"
        }
        if ParameterNames.prefixes.contains(tokens[0]) {
            if tokens.count == 1 { return "\(tokens[0]) is a network: expected one dataset per parameter, not a blob" }
            guard names.wanted.contains(where: { $0.prefix == tokens[0] }) else {
                return "the architecture has no \(tokens[0])"
            }
            return "\(tokens[0]) has no such parameter" + (isShown ? suggestion(tokens) : "")
        }
        if KeyMatching.wrappers.contains(tokens[0]) {
            return "expected one dataset per parameter, not a blob; save each entry of the state_dict"
        }
        if KeyMatching.leaves.contains(leaf) || tokens.contains(where: names.modules.contains) {
            return "no network has such a parameter" + (isShown ? suggestion(tokens) : "")
        }
        return nil
    }

    private func suggestion(_ tokens: [String]) -> String {
        let key = tokens.joined(separator: ".")
        // A name of kilobytes is no slip of the keyboard.
        let length = key.utf8.count
        guard length <= 64 else { return "; remove it" }
        let known = (names.specs.map(\.name) + names.bareKeys.sorted()).filter { abs($0.utf8.count - length) <= 3 }
        let near = known.map { ($0, KeyMatching.distance(key, $0)) }.min { $0.1 < $1.1 }
        if let near, near.1 <= 3 { return "; did you mean \(near.0)?" }
        return "; remove it, or keep what is not weights under other names"
    }

    /// Levenshtein's.
    private static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.utf8)
        let b = Array(b.utf8)
        var row = Array(0...b.count)
        for i in 0..<a.count {
            var diagonal = row[0]
            row[0] = i + 1
            for j in 0..<b.count {
                let substituted = diagonal + (a[i] == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, diagonal + 1, row[j] + 1)
            }
        }
        return row[b.count]
    }

    // MARK: Keys without a network

    /// The network is recognised by its set of keys, then by shapes. Where that does not single one out, a person must.
    private mutating func placeBare(_ bare: [(key: String, candidate: Int)], problems: inout Problems) {
        let keys = Set(bare.map(\.key))
        func score(_ network: Network) -> (exact: Int, fitting: Int, named: Int) {
            let specs = names.specs(of: network)
            let byKey = Dictionary(uniqueKeysWithValues: specs.map { ($0.key, $0) })
            let required = Set(specs.filter { !$0.isInteger }.map(\.key))
            let isExact = required.isSubset(of: keys) && keys.isSubset(of: byKey.keys)
            let named = bare.filter { byKey[$0.key] != nil }
            let fitting = named.filter { KeyMatching.fits(candidates[$0.candidate].shape, byKey[$0.key]!) }
            return (isExact ? 1 : 0, fitting.count, named.count)
        }
        let scores = names.wanted.map { ($0, score($0)) }
        let best = scores.map(\.1).max { $0 < $1 }!
        let winners = scores.filter { $0.1 == best }.map(\.0)
        guard winners.count == 1 else {
            let names = winners.map(\.prefix).joined(separator: " or ")
            problems.content(
                "keys without a network (\(bare.map { printable(candidates[$0.candidate].name) }.prefix(3).joined(separator: ", ")), "
                    + "...) could be \(names); write the network before each key, as in \(winners[0].prefix).\(bare[0].key)"
            )
            return
        }
        let network = winners[0]
        for (key, candidate) in bare {
            if let spec = names.find(network.prefix + "." + key) {
                claim(spec, candidate, problems: &problems)
            } else {
                problems.content(
                    "\(printable(candidates[candidate].name)): found \(candidates[candidate].text), but the keys without "
                        + "a network fit \(network.prefix) best, which has no \(key); remove it or name its network")
            }
        }
    }

    private static func fits(_ shape: [Int]?, _ spec: ParameterSpec) -> Bool {
        shape == spec.shape || spec.isInteger && shape == [1]
    }

    // MARK: Shapes and messages

    private func checkShape(_ candidate: Candidate, _ spec: ParameterSpec, problems: inout Problems) {
        guard !KeyMatching.fits(candidate.shape, spec) else { return }
        let expected = (spec.isInteger ? "int64 " : "float32 ") + describe(shape: spec.shape)
        var hint = ""
        if let shape = candidate.shape, shape.count > 1, shape.sorted() == spec.shape.sorted() {
            hint = "; transposed? Axes are never guessed: save them in PyTorch's order"
        } else if let shape = candidate.shape, shape.count <= 1, candidate.isBytes {
            hint = "; a blob? Save each entry of the state_dict as a dataset"
        }
        let label = printable(candidate.name) == spec.name ? "" : " (as \(printable(candidate.name)))"
        problems.content("\(spec.name)\(label): found \(candidate.text), expected \(expected)\(hint)")
    }

    private func nothingFound() -> String {
        guard let first = names.specs.first else {
            return "no weights found: the architecture has no \(names.missing.map(\.prefix).joined(separator: ", no "))"
        }
        let shown = candidates.prefix(5).map { printable($0.name) }.joined(separator: ", ")
        let found = candidates.isEmpty ? "no datasets" : "\(shown)\(candidates.count > 5 ? ", ..." : "")"
        return
            "no weights found. Expected datasets named as \(first.name); found \(found)"
    }
}

extension KeyMatching.Candidate {
    /// Pickles and other bytes arrive as these.
    var isBytes: Bool {
        text.hasPrefix("uint8") || text.hasPrefix("int8") || text.hasPrefix("opaque") || text.hasPrefix("string")
            || text.hasPrefix("variable")
    }
}
