import MQTTCore
import MQTTPackets

/// What an observer makes of the events, beside what is there.
struct Observer {
    /// The number of the next event.
    var next: UInt64
    /// Clients that have been told of as connected, and not as gone.
    var connected: Set<String> = []
    var ready: Set<String> = []
    var dropped = 0
    var delivered = 0
}

/// In half of all runs somebody observes: events must change nothing else.
extension World {
    /// A core that has just begun, where this run is observed.
    func beginObserving() { observer = isObserved ? Observer(next: core.beginObserving()) : nil }

    func observe() throws {
        let batch = core.takeObserved()
        try expect(batch == nil || observer != nil, "events that nobody wants")
        guard let batch, var observer else { return }
        try expect(batch.first == observer.next, "event \(batch.first), not \(observer.next)")
        observer.next += UInt64(batch.events.count)
        for event in batch.events { try observe(event, &observer) }
        self.observer = observer
    }

    private func observe(_ event: BrokerEvent, _ observer: inout Observer) throws {
        switch event {
        case .clientConnected(let client):
            try expect(observer.connected.insert(client.id).inserted, "\(client.id) connects twice")
        case .clientReady(let client):
            try expect(observer.connected.contains(client.id), "\(client.id) is ready and not there")
            try expect(observer.ready.insert(client.id).inserted, "\(client.id) is ready twice")
        case .clientDisconnected(let client, _):
            try expect(observer.connected.remove(client.id) != nil, "\(client.id) goes and was not there")
            observer.ready.remove(client.id)
        case .delivered(_, let client):
            try expect(observer.connected.contains(client.id), "\(client.id) acknowledges and is not there")
            observer.delivered += 1
        case .pingReceived(let client), .keepAliveTimeout(let client), .sessionTakenOver(let client),
            .subscribed(let client, _), .unsubscribed(let client, _):
            try expect(observer.connected.contains(client.id), "\(event): the client is not there")
        case .dropped(_, _, _, let count): observer.dropped += count
        default: break
        }
    }

    /// What was told of is what was counted.
    func checkObserver() throws {
        guard let observer else { return }
        let statistics = core.currentStatistics
        try expect(observer.dropped == Int(statistics.dropped.total), "told of \(observer.dropped) drops")
        // What PUBREC came for waits for PUBCOMP, and may end with its session before.
        let over = Int(statistics.copiesCompleted + statistics.dropped[.sessionEnded])
        let delivered = over + statistics.copiesUnfinished
        try expect(observer.delivered <= delivered, "told of \(observer.delivered) deliveries")
        let clients = core.connectedClients
        try expect(observer.connected == clients, "told to be there: \(observer.connected), and \(clients) are")
    }
}
