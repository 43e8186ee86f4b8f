import CHDF5
import DimRuntime
import DimFiles
import Testing

/// The program that loads us may use the same libhdf5: its settings are as they were, its handles untouched.
extension WeightsTests {
    @Suite struct GuestTests {
        private let folder = Folder()

        private func useTheLibrary() throws {
            let state = try randomState([.classifier], seed: 1)
            try WeightsFile.write(state, path: folder.file("w.h5"))
            expectSame(try WeightsFile.read(path: folder.file("w.h5")), state)
            expectError(.fileFormat) { _ = try WeightsFile.read(path: "/proc/self/exe") }
        }

        @Test func errorHandlerAndPluginStateAreKept() throws {
            var marker = 0
            try withUnsafeMutablePointer(to: &marker) { marker in
                H5Eset_auto2(
                    dim_h5_error_stack(),
                    { _, data in
                        data!.assumingMemoryBound(to: Int.self).pointee += 1
                        return 0
                    }, marker)
                H5PLset_loading_state(1)
                defer {
                    H5Eset_auto2(dim_h5_error_stack(), nil, nil)
                    H5PLset_loading_state(UInt32.max)
                }
                try useTheLibrary()
                #expect(marker.pointee == 0, "our errors reached the host's handler")
                H5Gopen2(-1, "nothing", dim_h5_default())
                #expect(marker.pointee == 1, "the host's handler is gone")
                var plugins: UInt32 = 0
                H5PLget_loading_state(&plugins)
                #expect(plugins == 1)
            }
        }

        @Test func nothingStaysOpen() throws {
            try useTheLibrary()
            let kinds = [H5I_FILE, H5I_GROUP, H5I_DATASET, H5I_DATATYPE, H5I_DATASPACE, H5I_GENPROP_LST, H5I_VFL]
            func open() -> [hsize_t] {
                kinds.map { kind in
                    var count: hsize_t = 0
                    H5Inmembers(kind, &count)
                    return count
                }
            }
            let before = open()
            for _ in 0..<5 { try useTheLibrary() }
            #expect(open() == before)
        }

        @Test func theHostsOpenFileStaysOpen() throws {
            try useTheLibrary()
            let file = H5Fopen(folder.file("w.h5"), dim_h5_read_only(), dim_h5_default())
            #expect(file >= 0)
            try useTheLibrary()
            #expect(H5Iis_valid(file) > 0)
            #expect(H5Fclose(file) >= 0)
        }

        @Test func versionIsThatOfTheLoadedLibrary() {
            #expect(WeightsFile.libraryVersion.split(separator: ".").count == 3)
        }
    }
}
