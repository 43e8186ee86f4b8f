import DimArchitecture
import DimRuntime
import DimFiles
import Glibc
import Testing

extension WeightsTests {
    @Suite struct RoundTripTests {
        @Test(arguments: [notebookNetworks] + notebookNetworks.map { [$0] } + [[.encoder, .classifier]])
        func weightsSurvive(networks: [Network]) throws {
            let folder = Folder()
            let state = try randomState(networks, seed: 1)
            try WeightsFile.write(state, path: folder.file("w.h5"))
            expectSame(try WeightsFile.read(path: folder.file("w.h5")), state)
            #expect(folder.names == ["w.h5"])
        }

        @Test func extremeValuesSurvive() throws {
            let folder = Folder()
            var state = try randomState([.priorD], seed: 2)
            let extremes: [Float] = [
                0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .leastNormalMagnitude,
                .greatestFiniteMagnitude,
                -.greatestFiniteMagnitude,
            ]
            let index = try #require(state.specs.firstIndex { $0.key == "l2.weight" })
            state.values[index] = .floats(try Buffer((0..<200).map { extremes[$0 % extremes.count] }))
            try WeightsFile.write(state, path: folder.file("w.h5"))
            expectSame(try WeightsFile.read(path: folder.file("w.h5")), state)
        }

        @Test(arguments: [Float.nan, .infinity, -.infinity], [0, 17, 199])
        func valuesThatCouldNotBeReadAreNotWritten(value: Float, at place: Int) throws {
            let folder = Folder()
            let good = try randomState([.priorD], seed: 3)
            try WeightsFile.write(good, path: folder.file("w.h5"))
            var bad = good
            let index = try #require(bad.specs.firstIndex { $0.key == "l1.bias" })
            var values = [Float](repeating: 1, count: 200)
            values[place] = value
            bad.values[index] = .floats(try Buffer(values))
            expectError(.notFinite, "prior_d.l1.bias") { try WeightsFile.write(bad, path: folder.file("w.h5")) }
            expectSame(try WeightsFile.read(path: folder.file("w.h5")), good)
            #expect(folder.names == ["w.h5"])
        }

        /// A variance and a count of batches: finite, and refused where they are read.
        @Test(arguments: ["b1.running_var", "b1.num_batches_tracked"], [false, true])
        func negativeValuesAreNotWritten(key: String, asSafetensors: Bool) throws {
            let folder = Folder()
            var state = try randomState([.encoder], seed: 5)
            let index = try #require(state.specs.firstIndex { $0.key == key })
            if state.specs[index].isInteger {
                state.values[index] = .counter(-1)
            } else {
                var values = [Float](repeating: 1, count: state.specs[index].count)
                values[values.count - 1] = -1e-9
                state.values[index] = .floats(try Buffer(values))
            }
            expectError(.notFinite, "encoder.\(key)") {
                if asSafetensors {
                    try WeightsFile.writeSafetensors(state, path: FilePath(folder.file("w")))
                } else {
                    try WeightsFile.write(state, path: folder.file("w"))
                }
            }
            #expect(folder.names.isEmpty)
        }

        /// One lock: libhdf5 itself has none.
        @Test func threadsMayReadAndWriteAtOnce() throws {
            let folder = Folder()
            let state = try randomState([.priorD, .classifier], seed: 4)
            try WeightsFile.write(state, path: folder.file("0.h5"))
            let paths = (0..<4).map { folder.file("\($0).h5") }
            let failures = Threads.run(4) { number in
                for _ in 0..<20 {
                    expectSame(try WeightsFile.read(path: paths[0]), state)
                    try WeightsFile.write(state, path: paths[number])
                    expectError(.io) { _ = try WeightsFile.read(path: paths[number] + ".absent") }
                }
            }
            #expect(failures == 0)
        }
    }
}
