import DimArchitecture
import DimRuntime

/// The caller's requirements for a file: its architecture and networks.
package struct Expectation {
    package enum Architectures {
        /// The notebook's: the caller's arrays may be of its sizes.
        case notebookAlone
        case exactly(Architecture)
        /// Whatever the file says, or the preset that its names and shapes are of.
        case any
    }

    package var architectures: Architectures
    /// A mask of the networks that are read and compared; 0 for all.
    package var networks: UInt32

    package init(_ architectures: Architectures, networks: UInt32 = 0) {
        (self.architectures, self.networks) = (architectures, networks)
    }

    /// Which architecture the arrays are of, and which array is which parameter. All that is wrong is reported at once.
    func resolve(
        _ labels: FileLabels, _ candidates: [KeyMatching.Candidate], advice: String?, path: FilePath
    ) throws -> (Architecture, KeyMatching) {
        let architecture: Architecture
        if let found = labels.architecture {
            architecture = try accepted(found, "its attribute \"\(FileLabels.architecture)\"", path)
        } else if case .exactly(let expected) = architectures {
            architecture = expected
        } else {
            architecture = try accepted(recognised(candidates, advice, path), "its names and shapes", path)
        }
        let attempt = Attempt(architecture, networks, candidates, advice)
        try attempt.problems.throwIfAny(path: path)
        return (architecture, attempt.matching)
    }

    /// `found`, where it is what the caller expects.
    func accepted(_ found: Architecture, _ source: String, _ path: FilePath) throws -> Architecture {
        switch architectures {
        case .any: return found
        case .notebookAlone:
            guard !found.isNotebook else { return found }
            throw DimError(
                .fileContent,
                "\(path): expected the notebook's architecture, since the caller's arrays may be of its sizes; by \(source) "
                    + "it is \(found.briefly). To open it: dim_model_open_with or dim_trainer_resume_with, with "
                    + "any_architecture or architecture among its options; in Python Model.open, Trainer.resume")
        case .exactly(let expected):
            let different = expected.members(differingFrom: found, networks: networks)
            guard !different.isEmpty else { return expected }
            throw DimError(
                .fileContent,
                "\(path): expected architecture \(expected.briefly), found architecture \(found.briefly) by \(source); "
                    + "they differ in " + different.joined(separator: ", ")
                    + (networks == 0
                        ? ". Networks of another architecture are read where `networks` leaves out what differs"
                        : ""))
        }
    }

    /// Without an attribute: the notebook where everything fits, else the one preset that fits.
    private func recognised(
        _ candidates: [KeyMatching.Candidate], _ advice: String?, _ path: FilePath
    ) throws -> Architecture {
        let notebook = Attempt(.notebook, networks, candidates, advice)
        if notebook.problems.isEmpty { return .notebook }
        let others = Architecture.presetNames.compactMap(Architecture.preset).filter { !$0.isNotebook }
        let attempts = [notebook] + others.map { Attempt($0, networks, candidates, advice) }
        let fitting = attempts.filter(\.problems.isEmpty)
        if fitting.count == 1 { return fitting[0].architecture }
        guard fitting.isEmpty else {
            let names = fitting.compactMap(\.architecture.preset).joined(separator: ", ")
            throw DimError(
                .fileContent,
                "\(path): its names and shapes fit several architectures: \(names); say which by `architecture`, or write "
                    + "the root attribute \"\(FileLabels.architecture)\"")
        }
        var nearest = notebook
        if case .any = architectures {
            nearest = attempts.min { $0.problems.count < $1.problems.count }!
        }
        let closing =
            "the file names no architecture, and of the presets \(nearest.architecture.preset ?? "") is the nearest; for another "
            + "one give `architecture`"
        try nearest.problems.throwIfAny(path: path, advice: nearest.architecture.isNotebook ? nil : closing)
        return nearest.architecture
    }

    private struct Attempt {
        let architecture: Architecture
        let matching: KeyMatching
        private(set) var problems = Problems()

        init(
            _ architecture: Architecture, _ networks: UInt32, _ candidates: [KeyMatching.Candidate], _ advice: String?
        ) {
            self.architecture = architecture
            let names = ParameterNames(architecture, networks: networks)
            matching = KeyMatching(candidates, names, problems: &problems)
            if matching.networks.isEmpty, !names.wanted.isEmpty, let advice { problems.content(advice) }
        }
    }
}

extension Architecture {
    /// For a message: "basic32 (3x32x32 images)".
    var briefly: String {
        let size = "\(image.channels)x\(image.height)x\(image.width) images"
        if let preset, let base = Architecture.preset(preset) {
            return isSameNetwork(as: base) ? "\(preset) (\(size))" : "made from \(preset) (\(size))"
        }
        return "without a preset (\(size))"
    }

    /// The members of the descriptions that are not the same. Of networks that `mask` (0 for all) leaves out nothing is
    /// compared.
    fileprivate func members(differingFrom other: Architecture, networks mask: UInt32) -> [String] {
        func compares(_ network: Network) -> Bool { mask == 0 || mask & network.rawValue != 0 }
        var names: [String] = []
        if compares(.encoder), image != other.image { names.append("image") }
        if compares(.encoder), encoder != other.encoder { names.append("encoder") }
        if compares(.localD), local != other.local { names.append("local") }
        if compares(.globalD), global != other.global { names.append("global") }
        if compares(.priorD), prior != other.prior { names.append("prior") }
        if compares(.classifier), classifier != other.classifier { names.append("classifier") }
        if compares(.coordinatesD), coordinates != other.coordinates { names.append("coordinates") }
        return names
    }
}
