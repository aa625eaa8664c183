// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let posix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let package = Package(
    name: "apus",
    platforms: [.macOS(.v15), .iOS(.v18)],
    products: [
        .executable(name: "apus", targets: ["apus"]),
        .library(name: "MQTT", targets: ["MQTT"]),
        .library(name: "MQTTClientConfiguration", targets: ["MQTTClientConfiguration"]),
        .library(name: "MQTTServer", targets: ["MQTTServer"]),
        .library(name: "MQTTServerConfiguration", targets: ["MQTTServerConfiguration"]),
        .library(name: "MQTTPackets", targets: ["MQTTPackets"]),
        .library(name: "MQTTStore", targets: ["MQTTStore"]),
        .library(name: "MQTTStoreTesting", targets: ["MQTTStoreTesting"]),
        .library(name: "MQTTTesting", targets: ["MQTTTesting"]),
        .library(name: "MQTTJournal", targets: ["MQTTJournal"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-system.git", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0", traits: []),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift.git", from: "0.2.0"),
    ],
    targets: [
        // Pure: no I/O, clock, lock, task.
        .target(name: "MQTTPackets", dependencies: [nio], swiftSettings: strict),
        .target(name: "MQTTSessions", dependencies: ["MQTTStore", "MQTTPackets", nio, deque], swiftSettings: strict),
        .target(name: "MQTTRouting", dependencies: ["MQTTPackets", nio], swiftSettings: strict),
        .target(name: "MQTTStore", dependencies: ["MQTTPackets", nio], swiftSettings: strict),
        .target(
            name: "MQTTCore",
            dependencies: [
                "MQTTPackets", "MQTTSessions", "MQTTRouting", "MQTTStore", nio, deque,
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: strict
        ),
        // Edges.
        .target(name: "CApusPlatform"),
        .target(name: "MQTTStoreTesting", dependencies: ["MQTTStore", "MQTTPackets", nio], swiftSettings: strict),
        .target(
            name: "MQTTJournal",
            dependencies: ["MQTTStore", "MQTTPackets", "CApusPlatform", nio, posix, deque, system],
            swiftSettings: strict
        ),
        .target(name: "MQTTTransport", dependencies: [nio, posix], swiftSettings: strict),
        .target(
            name: "MQTTServer",
            dependencies: [
                "MQTTCore", "MQTTSessions", "MQTTStore", "MQTTTransport", "CApusPlatform", nio, posix, deque, logging,
                metrics, lifecycle,
            ],
            swiftSettings: strict
        ),
        .target(
            name: "MQTTServerConfiguration",
            dependencies: [
                "MQTTServer", "MQTTCore", "MQTTPackets",
                .product(name: "Configuration", package: "swift-configuration"),
            ],
            swiftSettings: strict
        ),
        .target(
            name: "MQTT",
            dependencies: [
                "MQTTSessions", "MQTTStore", "MQTTPackets", nio, posix, deque, logging, metrics, lifecycle,
            ],
            swiftSettings: strict
        ),
        .target(
            name: "MQTTClientConfiguration",
            dependencies: ["MQTT", .product(name: "Configuration", package: "swift-configuration")],
            swiftSettings: strict
        ),
        .target(
            name: "MQTTTesting",
            dependencies: [
                "MQTT", "MQTTServer", "MQTTTransport", "MQTTStore", "MQTTStoreTesting", "MQTTPackets", nio, posix,
                deque, logging,
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "apus",
            dependencies: [
                "MQTT", "MQTTServer", "MQTTJournal", "MQTTStore", "MQTTCore", "MQTTPackets", "CApusPlatform",
                lifecycle, logging, nio, posix,
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict
        ),
        // Benchmarks.
        .target(name: "CHeap", path: "Benchmarks/CHeap"),
        .executableTarget(
            name: "growth",
            dependencies: [
                "MQTTCore", "MQTTRouting", "MQTTSessions", "MQTTPackets", "CHeap", nio,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/Growth",
            swiftSettings: strict
        ),
        .executableTarget(
            name: "start-data",
            dependencies: [
                "MQTTJournal", "MQTTStore", "MQTTPackets", nio,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/StartData",
            swiftSettings: strict
        ),
        .executableTarget(
            name: "client-bench",
            dependencies: [
                "MQTT", nio, posix, logging,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/Client",
            exclude: ["mqttjs.js"],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "hooks-bench",
            dependencies: [
                "MQTTServer", logging,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/Hooks",
            packageAccess: false,
            swiftSettings: strict
        ),
        // Examples, which see what is public and nothing more.
        .executableTarget(
            name: "hub",
            dependencies: ["MQTTServer"],
            path: "Examples/Hub",
            packageAccess: false,
            swiftSettings: strict
        ),
        .target(
            name: "Articles",
            dependencies: ["MQTT", "MQTTServer", "MQTTJournal", posix],
            path: "Examples/Articles",
            packageAccess: false,
            swiftSettings: strict
        ),
        .target(
            name: "CustomStore",
            dependencies: ["MQTTStore", "MQTTPackets", nio],
            path: "Examples/CustomStore",
            exclude: ["Broker"],
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "custom-store",
            dependencies: ["CustomStore", "MQTTServer"],
            path: "Examples/CustomStore/Broker",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "aedes-starter",
            dependencies: ["MQTTServer"],
            path: "Examples/AedesStarter",
            exclude: ["starter.js"],
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "unix-socket",
            dependencies: ["MQTTServer", nio, posix],
            path: "Examples/UnixSocket",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "mosca-starter",
            dependencies: ["MQTTServer"],
            path: "Examples/MoscaStarter",
            exclude: ["starter.js"],
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "publisher",
            dependencies: ["MQTT"],
            path: "Examples/Publisher",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "subscriber",
            dependencies: ["MQTT"],
            path: "Examples/Subscriber",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "guarded-broker",
            dependencies: ["MQTTServer"],
            path: "Examples/GuardedBroker",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "typed-topics",
            dependencies: ["MQTT"],
            path: "Examples/TypedTopics",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "request-response",
            dependencies: ["MQTT"],
            path: "Examples/RequestResponse",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "load-generator",
            dependencies: ["MQTT"],
            path: "Examples/LoadGenerator",
            packageAccess: false,
            swiftSettings: strict
        ),
        .executableTarget(
            name: "durable-publisher",
            dependencies: ["MQTT", "MQTTJournal"],
            path: "Examples/DurablePublisher",
            packageAccess: false,
            swiftSettings: strict
        ),
        .target(
            name: "Device",
            dependencies: ["MQTT"],
            path: "Examples/Device",
            exclude: ["Tests"],
            packageAccess: false,
            swiftSettings: strict
        ),
        .testTarget(
            name: "DeviceTests",
            dependencies: ["Device", "MQTTTesting"],
            path: "Examples/Device/Tests",
            packageAccess: false,
            swiftSettings: strict
        ),
        // Tests.
        .testTarget(name: "MQTTPacketsTests", dependencies: ["MQTTPackets", nio], swiftSettings: strict),
        .testTarget(
            name: "MQTTRoutingTests",
            dependencies: ["MQTTRouting", "MQTTPackets", nio],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTSessionsTests",
            dependencies: ["MQTTSessions", "MQTTPackets", nio],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTTests",
            dependencies: [
                "MQTT", "MQTTServer", "MQTTTesting", "MQTTJournal", "MQTTSessions", "MQTTStore", "MQTTStoreTesting",
                "MQTTPackets", nio, posix, logging, lifecycle, metrics, system,
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTTestingTests",
            dependencies: ["MQTTTesting", "MQTTServer", "MQTT", "MQTTPackets", nio],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTStoreTests",
            dependencies: ["MQTTStore", "MQTTStoreTesting", "MQTTPackets", "CustomStore", nio],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTJournalTests",
            dependencies: [
                "MQTTJournal", "MQTTStore", "MQTTStoreTesting", "MQTTPackets", "CApusPlatform", nio, system,
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTServerTests",
            dependencies: [
                "MQTTServer", "MQTTTesting", "MQTT", "MQTTCore", "MQTTStore", "MQTTStoreTesting", "MQTTJournal",
                "MQTTSessions", "MQTTPackets", nio, posix, logging, lifecycle, metrics, system,
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTClientConfigurationTests",
            dependencies: [
                "MQTTClientConfiguration", "MQTT",
                .product(name: "Configuration", package: "swift-configuration"),
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MQTTServerConfigurationTests",
            dependencies: [
                "MQTTServerConfiguration", "MQTTServer",
                .product(name: "Configuration", package: "swift-configuration"),
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "MQTTCore", "MQTTSessions", "MQTTRouting", "MQTTStore", "MQTTStoreTesting", "MQTTJournal",
                "MQTTPackets", nio,
                system,
            ],
            swiftSettings: strict
        ),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)

if Context.environment["APUS_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "FuzzPackets",
            dependencies: ["MQTTPackets", nio],
            path: "Fuzz/FuzzPackets",
            swiftSettings: strict
        )
    )
}

// The example that needs SQLite's headers.
if Context.environment["APUS_ARCHIVE"] != nil {
    package.targets += [
        .systemLibrary(
            name: "CSQLite",
            path: "Examples/Archive/CSQLite",
            providers: [.apt(["libsqlite3-dev"])]
        ),
        .executableTarget(
            name: "archive",
            dependencies: ["MQTTServer", "CSQLite"],
            path: "Examples/Archive/Archive",
            packageAccess: false,
            swiftSettings: strict
        ),
    ]
}

// Micro-benchmarks. Without its traits the package needs no interposed allocator.
if Context.environment["APUS_BENCHMARKS"] != nil {
    package.dependencies.append(
        .package(url: "https://github.com/ordo-one/benchmark.git", from: "1.38.1", traits: [])
    )
    package.targets += [
        .target(name: "CCounts", path: "Benchmarks/CCounts"),
        .executableTarget(
            name: "Micro",
            dependencies: [
                "MQTTCore", "MQTTSessions", "MQTTRouting", "MQTTPackets", "CCounts", nio,
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "Benchmarks/Micro",
            swiftSettings: strict,
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
        ),
    ]
}
