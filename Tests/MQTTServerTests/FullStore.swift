import MQTTServer
import MQTTStore
import MQTTTesting
import Synchronization

/// A durable store that commits at once, and says of itself what the test has it say.
final class FullStore: MessageStore {
    let isDurable = true
    private let kept = KeptStore()
    private let said = Mutex(StoreStatistics())

    func open() async throws -> StoredState { try await kept.open() }

    func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] { try await kept.messages(pages) }

    func commit(_ changes: [StoreChange]) async throws {
        try await kept.commit(changes)
        said.withLock {
            $0.commits += 1
            $0.changes += UInt64(changes.count)
        }
    }

    var statistics: StoreStatistics { said.withLock { $0 } }

    func say(_ change: (inout StoreStatistics) -> Void) { said.withLock { change(&$0) } }

    /// Comes back when the broker knows it; `other` has its pings answered meanwhile.
    func become(full isFull: Bool, _ broker: MQTTBroker, _ other: TestClient) async throws {
        say { $0.isFull = isFull }
        while broker.storeStatistics?.isFull != isFull { try await other.ping() }
    }
}
