import DimArchitecture
import DimRuntime

/// The architecture and class names in a file: attributes of the root of an HDF5 file, metadata of a safetensors file.
package struct FileLabels {
    static let architecture = "architecture"
    static let classNames = "class_names"
    /// Bytes of a list of names.
    package static let mostNames = 16 << 20

    let architecture: Architecture?
    /// nil where the file names none.
    let classNames: [String]?

    /// From the texts of both; nil for one that is not there. `what` is what a label is called: "attribute".
    init(architecture: [UInt8]?, classNames: [UInt8]?, _ what: String, problems: inout Problems) {
        self.architecture = architecture.flatMap { text in
            do {
                return try Architecture.parse(text)
            } catch {
                let lines = "\(error)".split(separator: "\n").map { printable(String($0), most: 300) }
                problems.content("\(what) \"\(FileLabels.architecture)\": " + lines.joined(separator: "\n    "))
                return nil
            }
        }
        self.classNames = classNames.flatMap { text in
            do {
                return try FileLabels.names(text)
            } catch {
                problems.content("\(what) \"\(FileLabels.classNames)\": \(printable("\(error)", most: 300))")
                return nil
            }
        }
    }

    private struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    /// A JSON array of strings.
    static func names(_ text: [UInt8]) throws -> [String] {
        let json = try JSON.parse(text, limits: JSON.Limits(bytes: mostNames, depth: 1))
        guard case .array(let elements) = json.value else {
            throw Fault(description: "expected a JSON array of strings")
        }
        let names = try elements.enumerated().map { index, element in
            guard case .string(let name) = element.value else {
                throw Fault(description: "expected strings, found something else at \(index)")
            }
            if let fault = ClassNames.fault(name) { throw Fault(description: "name \(index) \(fault)") }
            return name
        }
        if let (first, second) = ClassNames.repeated(names) {
            throw Fault(description: "names \(first) and \(second) are the same: \(names[first])")
        }
        return names
    }

    /// The names of the architecture's classes, where the file holds the classifier and names its classes.
    func names(for architecture: Architecture, _ networks: [Network], problems: inout Problems) -> [String] {
        guard let classNames, networks.contains(.classifier), let classes = architecture.classifier?.classes else {
            return []
        }
        guard classNames.isEmpty || classNames.count == classes else {
            problems.content(
                "\"\(FileLabels.classNames)\" has \(classNames.count) names, but the classifier has \(classes) classes")
            return []
        }
        return classNames
    }

    /// The texts that say what `state` is.
    static func texts(_ state: StateDict) -> [(name: String, text: String)] {
        var texts = [(name: architecture, text: state.architecture.json)]
        if !state.classNames.isEmpty { texts.append((classNames, ClassNames.json(state.classNames))) }
        return texts
    }
}
