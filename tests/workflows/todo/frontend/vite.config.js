import { defineConfig } from "vite";

// Two pages; both load what they need from /frontend/.
export default defineConfig({
  base: "/frontend/",
  build: { rollupOptions: { input: ["index.html", "dashboard.html"] } },
});
