import MQTTStore
import MQTTStoreTesting
import Testing

/// A suite that finds nothing shows nothing: it is given stores with one fault each.
@Suite struct BrokenStoreTests {
    @Test("a store that loses changes of one kind is found", arguments: ChangeKind.allCases)
    func lostChanges(_ kind: ChangeKind) async throws {
        #expect(try await isFound { BrokenStore(kept: $0, lost: kind) })
    }

    @Test("a store with one fault is found", arguments: Fault.allCases)
    func faults(_ fault: Fault) async throws {
        #expect(try await isFound { BrokenStore(kept: $0, fault: fault) })
    }

    @Test("the same store without a fault is found to be right")
    func noFault() async throws {
        #expect(try await !isFound { BrokenStore(kept: $0) })
    }

    private func isFound(_ make: @escaping @Sendable (KeptContents) -> BrokenStore) async throws -> Bool {
        do {
            try await StoreConformance.run {
                let kept = KeptContents()
                return { make(kept) }
            }
            return false
        } catch is StoreConformanceFailure {
            return true
        }
    }
}
