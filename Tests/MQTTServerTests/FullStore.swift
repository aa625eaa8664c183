import MQTTServer
import MQTTStore
import Synchronization

/// A durable store that commits at once, and says of itself what the test has it say.
final class FullStore: MessageStore {
    let isDurable = true
    private let said = Mutex(StoreStatistics())

    func open() async throws -> StoredState { StoredState() }

    func messages(
        of incarnation: UInt64,
        from number: UInt64,
        count: Int,
        bytes: Int
    ) async throws -> [StoredMessage] { [] }

    func commit(_ changes: [StoreChange]) async throws {
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
