import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** The client of fabric8: lists, watches, runs a command and forwards a port. */
class Fabric8 {
  public static void main(String[] arguments) throws Exception {
    try (var client = new KubernetesClientBuilder().build()) {
      var pods = client.pods().inNamespace("default");
      for (var pod : pods.list().getItems()) {
        System.out.println("list " + pod.getMetadata().getName());
      }

      var seen = new CompletableFuture<String>();
      var maps = client.configMaps().inNamespace("default");
      var watcher = new Watcher<ConfigMap>() {
        public void eventReceived(Action action, ConfigMap map) {
          if (map.getMetadata().getName().equals("fabric8")) {
            seen.complete(action.name());
          }
        }

        public void onClose(WatcherException cause) {
          seen.completeExceptionally(cause);
        }
      };
      try (var watch = maps.watch(watcher)) {
        maps.resource(new ConfigMapBuilder().withNewMetadata().withName("fabric8").endMetadata().build()).create();
        System.out.println("watch " + seen.get(60, TimeUnit.SECONDS));
      }

      var web = pods.withName("web");
      var out = new ByteArrayOutputStream();
      try (var exec = web.writingOutput(out).exec("echo", "hi there")) {
        exec.exitCode().get(60, TimeUnit.SECONDS);
      }
      System.out.println("exec " + out.toString().trim());

      try (var forward = web.portForward(8080)) {
        var request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + forward.getLocalPort())).build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.println("port-forward " + answer.body().trim());
      }
    }
    System.exit(0);
  }
}
