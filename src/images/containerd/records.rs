//! Image records, leases, and the images that the kubelet sees.

use std::collections::HashMap;

use jiff::{Timestamp, ToSpan};
use tonic::Code;

use super::api::containerd::services::images::v1::images_client::ImagesClient;
use super::api::containerd::services::images::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest as ListRecordsRequest,
    UpdateImageRequest,
};
use super::api::containerd::services::leases::v1::leases_client::LeasesClient;
use super::api::containerd::services::leases::v1::{AddResourceRequest, CreateRequest, DeleteRequest, Resource};
use super::api::google::protobuf::FieldMask;
use super::api::runtime::v1::image_service_client::ImageServiceClient;
use super::api::runtime::v1::{ImageSpec, ImageStatusRequest, ListImagesRequest, PullImageRequest, RemoveImageRequest};
use super::{Answer, Containerd, CriAuth, CriImage, Descriptor, LARGEST, Scope, Scoped};

/// The hours after which the blobs of an interrupted transfer may be removed.
const KEPT: i64 = 24;
/// The label of images that a user has brought.
const MARK: &str = "kcl.dev/brought";

impl Containerd {
    fn leases(&self) -> LeasesClient<Scoped> {
        LeasesClient::new(self.scoped())
    }

    fn records(&self) -> ImagesClient<Scoped> {
        ImagesClient::new(self.scoped())
    }

    fn cri(&self) -> ImageServiceClient<Scoped> {
        ImageServiceClient::new(self.scoped()).max_decoding_message_size(LARGEST)
    }

    /// Creates a lease. Blobs that are written and names that are set through the returned connection are not
    /// garbage-collected while it lasts.
    pub async fn with_lease(&self, id: &str) -> Answer<Self> {
        let until = Timestamp::now().checked_add(KEPT.hours()).unwrap_or(Timestamp::MAX);
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), until.strftime("%FT%TZ").to_string())]);
        self.leases().create(CreateRequest { id: id.to_owned(), labels }).await?;
        Ok(Containerd { scope: Scope { lease: Some(id.to_owned()) }, ..self.clone() })
    }

    /// Adds an existing blob to the lease. Returns false if the blob has been removed.
    pub async fn hold_blob(&self, digest: &str) -> Answer<bool> {
        let Some(id) = self.scope.lease.clone() else { return Ok(true) };
        let resource = Resource { id: digest.to_owned(), r#type: "content".to_owned() };
        self.leases().add_resource(AddResourceRequest { id, resource: Some(resource) }).await?;
        // It may have been collected in between.
        Ok(self.blob_size(digest).await?.is_some())
    }

    /// Ends the lease.
    pub async fn end_lease(&self) -> Answer<()> {
        let Some(id) = self.scope.lease.clone() else { return Ok(()) };
        self.leases().delete(DeleteRequest { id, sync: false }).await.map(drop)
    }

    /// Returns the target of an image's name, if there is such an image.
    pub async fn image(&self, name: &str) -> Answer<Option<Descriptor>> {
        match self.records().get(GetImageRequest { name: name.to_owned() }).await {
            Ok(answer) => Ok(answer.into_inner().image.and_then(|image| image.target)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Names an image; the name is moved if another image has it.
    pub async fn name_image(&self, name: &str, target: &Descriptor) -> Answer<()> {
        let image = Some(Image { name: name.to_owned(), target: Some(target.clone()), ..Image::default() });
        match self.records().create(CreateImageRequest { image: image.clone(), source_date_epoch: None }).await {
            Err(status) if status.code() == Code::AlreadyExists => {
                self.records().update(UpdateImageRequest { image, ..UpdateImageRequest::default() }).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    /// Marks an image as brought by a user.
    pub async fn mark_image(&self, name: &str) -> Answer<()> {
        let labels = HashMap::from([(MARK.to_owned(), "true".to_owned())]);
        // Without a target containerd would end, though the mask leaves it out.
        let Some(target) = self.image(name).await? else { return Ok(()) };
        let image = Some(Image { name: name.to_owned(), labels, target: Some(target), ..Image::default() });
        let update_mask = Some(FieldMask { paths: vec![format!("labels.{MARK}")] });
        let request = UpdateImageRequest { image, update_mask, ..UpdateImageRequest::default() };
        self.records().update(request).await.map(drop)
    }

    /// Returns the names of the images that a user has brought.
    pub async fn marked_images(&self) -> Answer<Vec<String>> {
        let request = ListRecordsRequest { filters: vec![format!("labels.\"{MARK}\"==true")] };
        Ok(self.records().list(request).await?.into_inner().images.into_iter().map(|image| image.name).collect())
    }

    /// Removes a name, and everything that nothing else uses; succeeds if there is no such name.
    pub async fn forget_image(&self, name: &str) -> Answer<()> {
        let request = DeleteImageRequest { name: name.to_owned(), sync: true, target: None };
        match self.records().delete(request).await {
            Err(status) if status.code() != Code::NotFound => Err(status),
            _ => Ok(()),
        }
    }

    /// Lists the images that the kubelet sees.
    pub async fn images(&self) -> Answer<Vec<CriImage>> {
        Ok(self.cri().list_images(ListImagesRequest::default()).await?.into_inner().images)
    }

    /// Returns the image that the kubelet finds by a name, a digest or an id.
    pub async fn cri_image(&self, name: &str) -> Answer<Option<CriImage>> {
        let request = ImageStatusRequest { image: spec(name), verbose: false };
        Ok(self.cri().image_status(request).await?.into_inner().image)
    }

    /// Removes an image with all its names.
    pub async fn remove_image(&self, name: &str) -> Answer<()> {
        self.cri().remove_image(RemoveImageRequest { image: spec(name) }).await.map(drop)
    }

    /// Pulls an image as the kubelet does, by the node's configuration of registries. Returns its id.
    pub async fn pull(&self, name: &str, auth: Option<CriAuth>) -> Answer<String> {
        let request = PullImageRequest { image: spec(name), auth };
        Ok(self.cri().pull_image(request).await?.into_inner().image_ref)
    }
}

fn spec(name: &str) -> Option<ImageSpec> {
    Some(ImageSpec { image: name.to_owned(), ..ImageSpec::default() })
}
