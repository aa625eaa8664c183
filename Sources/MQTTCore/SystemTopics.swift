/// What is remembered from one publication of `$SYS` to the next.
struct SystemTopics: Sendable {
    /// Messages that are still to be published, the next one last.
    var owed: [(topic: String, payload: String)] = []
    /// By position in the list of figures.
    var lastPayloads: [String] = []
    var store = StoreFigures()
    var loads = Array(repeating: Load(), count: LoadFigure.allCases.count)
    /// When the first turn was.
    var startedAt: Int64?

    /// Numbers for which there are averages a minute.
    enum LoadFigure: Int, CaseIterable {
        case messagesReceived, messagesSent, publishReceived, publishSent, publishDropped, bytesReceived, bytesSent
        case sockets, connections

        var name: String {
            switch self {
            case .messagesReceived: "messages/received"
            case .messagesSent: "messages/sent"
            case .publishReceived: "publish/received"
            case .publishSent: "publish/sent"
            case .publishDropped: "publish/dropped"
            case .bytesReceived: "bytes/received"
            case .bytesSent: "bytes/sent"
            case .sockets: "sockets"
            case .connections: "connections"
            }
        }

        func count(_ statistics: Statistics) -> UInt64 {
            switch self {
            case .messagesReceived: statistics.packetsReceived
            case .messagesSent: statistics.packetsSent
            case .publishReceived: statistics.publishReceived
            case .publishSent: statistics.publishSent
            case .publishDropped: statistics.copiesDropped
            case .bytesReceived: statistics.bytesReceived
            case .bytesSent: statistics.bytesSent
            case .sockets: statistics.sockets
            case .connections: statistics.connects
            }
        }
    }

    /// How many a minute, over the last 1, 5 and 15 minutes: the older, the less it counts.
    struct Load: Sendable {
        private(set) var averages: [Double] = [0, 0, 0]
        private var lastCount: UInt64 = 0

        mutating func add(_ count: UInt64, interval: Int64, decays: [Double]) {
            let perMinute = Double(count - lastCount) * 60_000 / Double(interval)
            lastCount = count
            for at in averages.indices { averages[at] = perMinute + decays[at] * (averages[at] - perMinute) }
        }
    }

    /// Two decimals.
    static func text(_ value: Double) -> String {
        let hundredths = UInt64((value * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}

extension BrokerCore {
    /// All figures, as of now.
    package var currentStatistics: Statistics {
        var now = statistics
        now.uptime = self.now - (system.startedAt ?? self.now)
        now.sessions = sessionCount
        now.connections = connectionCount
        now.subscriptions = tree.count
        now.treeNodes = tree.nodeCount
        now.retainedMessages = retained.count
        now.retainedBytes = retained.bytesHeld
        now.timers = timers.count
        return now
    }

    mutating func armSystemTimers() {
        if configuration.systemTopics.interval > 0 { timers.insert(Timer(due: 0, kind: .systemTopics)) }
        if configuration.systemTopics.clientTopics == .aedes { timers.insert(Timer(due: 0, kind: .heartbeat)) }
    }

    /// Collects the figures; only what has changed is published.
    mutating func systemTopicsDue() {
        let interval = configuration.systemTopics.interval
        timers.insert(Timer(due: now + interval, kind: .systemTopics))
        if system.startedAt == nil { system.startedAt = now }
        let statistics = currentStatistics
        for figure in SystemTopics.LoadFigure.allCases {
            system.loads[figure.rawValue].add(
                figure.count(statistics),
                interval: interval,
                decays: configuration.systemTopics.loadDecays
            )
        }
        var lines = lines(statistics)
        if configuration.isDurable { lines += system.store.takeLines(interval: interval) }
        for (at, line) in lines.enumerated().reversed() {
            let isNew = at >= system.lastPayloads.count || system.lastPayloads[at] != line.payload
            if isNew { system.owed.append(("$SYS/broker/" + line.topic, line.payload)) }
        }
        system.lastPayloads = lines.map(\.payload)
    }

    /// Publishes what is owed, as far as this turn's budget goes. False where more is left.
    mutating func publishSystemTopics() -> Bool {
        while let (topic, payload) = system.owed.last {
            guard budget > 0 else { return false }
            system.owed.removeLast()
            publishOwn(topic, payload, isRetained: true)
        }
        return true
    }

    /// The names are those of mosquitto, where it has one.
    private func lines(_ now: Statistics) -> [(topic: String, payload: String)] {
        let stored = now.retainedMessages + now.copiesUnfinished
        var lines: [(topic: String, payload: String)] = [
            ("version", configuration.systemTopics.version),
            ("uptime", "\(now.uptime / 1_000) seconds"),
            ("clients/total", "\(now.sessions)"),
            ("clients/connected", "\(now.clientsConnected)"),
            ("clients/disconnected", "\(now.clientsDisconnected)"),
            ("clients/maximum", "\(now.clientsMaximum)"),
            ("clients/expired", "\(now.sessionsExpired)"),
            ("messages/received", "\(now.packetsReceived)"),
            ("messages/sent", "\(now.packetsSent)"),
            ("messages/stored", "\(stored)"),
            ("publish/messages/received", "\(now.publishReceived)"),
            ("publish/messages/sent", "\(now.publishSent)"),
            ("publish/messages/refused", "\(now.publishRefused)"),
            ("publish/messages/dropped", "\(now.copiesDropped)"),
            ("publish/bytes/received", "\(now.publishBytesReceived)"),
            ("publish/bytes/sent", "\(now.publishBytesSent)"),
            ("publish/bytes/dropped", "\(now.publishBytesDropped)"),
            ("publish/copies/routed", "\(now.copiesRouted)"),
            ("publish/copies/completed", "\(now.copiesCompleted)"),
            ("publish/copies/unfinished", "\(now.copiesUnfinished)"),
            ("bytes/received", "\(now.bytesReceived)"),
            ("bytes/sent", "\(now.bytesSent)"),
            ("packet/out/count", "\(now.unsentPackets)"),
            ("packet/out/bytes", "\(now.unsentBytes)"),
            ("subscriptions/count", "\(now.subscriptions)"),
            ("shared_subscriptions/count", "\(now.sharedSubscriptions)"),
            ("retained messages/count", "\(now.retainedMessages)"),
            ("retained messages/bytes", "\(now.retainedBytes)"),
            ("store/messages/count", "\(stored)"),
            ("store/messages/bytes", "\(now.retainedBytes + now.queuedBytes + now.queuedBytesInStore)"),
            ("connections/count", "\(now.connections)"),
            ("connections/refused", "\(now.socketsRefused)"),
        ]
        for cause in DropCause.allCases {
            lines.append(("publish/messages/dropped/\(cause.name)", "\(now.dropped[cause])"))
        }
        for figure in SystemTopics.LoadFigure.allCases {
            for (minutes, average) in zip([1, 5, 15], system.loads[figure.rawValue].averages) {
                lines.append(("load/\(figure.name)/\(minutes)min", SystemTopics.text(average)))
            }
        }
        return lines
    }
}
