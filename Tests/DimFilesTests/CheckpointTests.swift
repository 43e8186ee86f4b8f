import DimRuntime
import DimFiles
import Testing

extension WeightsTests {
    @Suite struct CheckpointTests {
        let folder = Folder()
        let state: StateDict
        /// More elements than a chunk holds, in one and in two axes.
        let long: [Float] = (0..<300_001).map { Float($0) }

        init() throws {
            state = try randomState([.priorD], seed: 1)
        }

        private func extra() throws -> [String: NamedArray] {
            [
                "kind": .text("objective"), "empty": .text(""), "words": .text("größer ≥ 0"),
                "moment": .float32(try Buffer(long), shape: [long.count]),
                "matrix": .float64((0..<150_000).map { Double($0) / 3 }, shape: [3, 50_000]),
                "scalar": .float64([1.0 / 3], shape: []),
                "step": .int64([.min], shape: []), "counts": .int64([1, -2, .max], shape: [3]),
                "generator": .uint32((0..<624).map { .max - $0 }, shape: [624]),
            ]
        }

        private let specs: [ArraySpec] = [
            ArraySpec("empty", .text(most: 10)), ArraySpec("words", .text(most: 100)),
            ArraySpec("moment", .float32, [300_001]), ArraySpec("matrix", .float64, [3, 50_000]),
            ArraySpec("scalar", .float64), ArraySpec("step", .int64), ArraySpec("counts", .int64, [3]),
            ArraySpec("generator", .uint32, [624]),
        ]
        private let header = [ArraySpec("kind", .text(most: 64))]

        private func write(_ change: (inout [String: NamedArray]) -> Void = { _ in }) throws -> String {
            var arrays = try extra()
            change(&arrays)
            try WeightsFile.write(state, path: folder.file("c.h5"), extra: arrays)
            return folder.file("c.h5")
        }

        private func read(_ path: String) throws -> (StateDict, [String: NamedArray]) {
            let arrays = CheckpointArrays(header: header) { architecture, networks, header in
                #expect(architecture.isNotebook)
                #expect(networks == [.priorD])
                guard case .text("objective")? = header["kind"] else { throw DimError(.fileContent, "another kind") }
                return specs
            }
            return try WeightsFile.readCheckpoint(path: path, kind: "objective", arrays: arrays)
        }

        @Test func everyKindSurvives() throws {
            let (weights, arrays) = try read(write())
            expectSame(weights, state)
            #expect(arrays.count == 9)
            guard case .text("objective")? = arrays["kind"], case .text("")? = arrays["empty"],
                case .text("größer ≥ 0")? = arrays["words"],
                case .float32(let moment, [300_001])? = arrays["moment"], moment.array == long,
                case .float64(let matrix, [3, 50_000])? = arrays["matrix"],
                matrix == (0..<150_000).map({ Double($0) / 3 }),
                case .float64([1.0 / 3], [])? = arrays["scalar"],
                case .int64([.min], [])? = arrays["step"], case .int64([1, -2, .max], [3])? = arrays["counts"],
                case .uint32(let generator, [624])? = arrays["generator"], generator == (0..<624).map({ .max - $0 })
            else {
                Issue.record("an array is not what was written")
                return
            }
        }

        @Test func aCheckpointOpensAsWeights() throws {
            expectSame(try WeightsFile.read(path: write()), state)
        }

        @Test func weightsAreNoCheckpoint() throws {
            try WeightsFile.write(state, path: folder.file("w.h5"))
            expectError(.fileContent, "no checkpoint", "opened as a model") { _ = try read(folder.file("w.h5")) }
        }

        @Test func whatIsMissingOrTooMuchIsListed() throws {
            let path = try write {
                $0["step"] = nil
                $0["generator"] = .uint32([1], shape: [1])
                $0["counts"] = .float64([1, 2, 3], shape: [3])
                $0["words"] = .text(String(repeating: "x", count: 200))
                $0["surplus"] = .int64([1], shape: [])
            }
            expectError(
                .fileContent, "5 problems", "checkpoint/step: missing; expected int64 ()",
                "checkpoint/generator: found uint32 (1,), expected uint32 (624,)",
                "checkpoint/counts: found float64 (3,), expected int64 (3,)", "checkpoint/words: found string",
                "checkpoint/surplus: found int64 (), expected nothing"
            ) { _ = try read(path) }
        }

        @Test func theCallersErrorComesThrough() throws {
            let path = try write { $0["kind"] = .text("classifier") }
            expectError(.fileContent, "another kind") { _ = try read(path) }
        }

        @Test func valuesAreFinite() throws {
            expectError(.notFinite, "moment") {
                _ = try write { $0["moment"] = .float32(try! Buffer([.nan]), shape: [1]) }
            }
            let path = try write { $0["scalar"] = .float64([.nan], shape: []) }
            expectError(.fileContent, "checkpoint/scalar") { _ = try read(path) }
        }

        @Test func namesAndShapesThatCannotBeWritten() throws {
            expectError(.internal, "a/b") { _ = try write { $0["a/b"] = .int64([1], shape: []) } }
            expectError(.internal, "x") { _ = try write { $0["x"] = .int64([1], shape: [2]) } }
            #expect(folder.names.isEmpty)
        }
    }
}
