import CustomStore
import Foundation
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import Testing

@Suite struct CustomStoreTests {
    @Test("the example of a custom store does what every store has to do", arguments: StoreConformance.cases)
    func conforms(_ conformance: StoreConformance.Case) async throws {
        try await withTemporaryFile { path in try await conformance.run { FileStore(path: path) } }
    }

    @Test("what a crash has left of a batch is not there, and what comes after it is")
    func tornBatch() async throws {
        try await withTemporaryFile { path in
            let first = FileStore(path: path)
            _ = try await first.open()
            try await first.commit([.sessionBegan(incarnation: 1, clientID: "c", expiryInterval: 9)])
            await first.close()
            let file = try #require(FileHandle(forUpdatingAtPath: path))
            try file.seekToEnd()
            try file.write(contentsOf: Data("began 2 =Yw== 9\nbega".utf8))
            try file.close()
            let second = FileStore(path: path)
            #expect(try await second.open().sessions.map(\.incarnation) == [1])
            try await second.commit([.sessionBegan(incarnation: 3, clientID: "c", expiryInterval: 9)])
            await second.close()
            let third = FileStore(path: path)
            #expect(Set(try await third.open().sessions.map(\.incarnation)) == [1, 3])
        }
    }

    @Test("a file with a line that is no change is refused")
    func unreadable() async throws {
        try await withTemporaryFile { path in
            try Data("began 1 c\ncommit\n".utf8).write(to: URL(filePath: path))
            let store = FileStore(path: path)
            await #expect(throws: FileStore.Unreadable.self) { try await store.open() }
        }
    }

    private func withTemporaryFile(_ body: (String) async throws -> Void) async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "apus-store-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try await body(file.path)
    }
}
