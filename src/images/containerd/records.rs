//! Image records, leases, and the images that the kubelet sees.

use std::collections::HashMap;

use jiff::{Timestamp, ToSpan};
use tonic::Code;

use super::messages::{
    AddResourceRequest, CreateLeaseRequest, CriImageStatus, CriImages, CriPullRequest, CriPullResponse, Empty,
    ImageName, ImageRecord, ImageSpec, ImageSpecRequest, LeaseId, OneImage, Resource,
};
use super::{Answer, Containerd, CriAuth, CriImage, Descriptor};

/// How long what a cut transfer has left is kept.
const KEPT: i64 = 24;

impl Containerd {
    /// With a lease: what is written or named from now on is not collected as long as it holds.
    pub async fn with_lease(&self, id: &str) -> Answer<Self> {
        let until = Timestamp::now().checked_add(KEPT.hours()).unwrap_or(Timestamp::MAX);
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), until.strftime("%FT%TZ").to_string())]);
        let request = CreateLeaseRequest { id: id.to_owned(), labels };
        let _: Empty = self.call("/containerd.services.leases.v1.Leases/Create", request).await?;
        Ok(Containerd { lease: Some(id.to_owned()), ..self.clone() })
    }

    /// Has the lease hold a blob that is there. Returns whether it still is.
    pub async fn hold_blob(&self, digest: &str) -> Answer<bool> {
        let Some(id) = self.lease.clone() else { return Ok(true) };
        let resource = Resource { id: digest.to_owned(), kind: "content".to_owned() };
        let request = AddResourceRequest { id, resource: Some(resource) };
        let _: Empty = self.call("/containerd.services.leases.v1.Leases/AddResource", request).await?;
        // Collected in between?
        Ok(self.blob_size(digest).await?.is_some())
    }

    /// Ends the lease.
    pub async fn end_lease(&self) -> Answer<()> {
        let Some(id) = self.lease.clone() else { return Ok(()) };
        let _: Empty = self.call("/containerd.services.leases.v1.Leases/Delete", LeaseId { id }).await?;
        Ok(())
    }

    /// What a name stands for, where there is such an image.
    pub async fn image(&self, name: &str) -> Answer<Option<Descriptor>> {
        let request = ImageName { name: name.to_owned(), sync: false };
        let answer: Answer<OneImage> = self.call("/containerd.services.images.v1.Images/Get", request).await;
        match answer {
            Ok(answer) => Ok(answer.image.and_then(|image| image.target)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Gives an image a name, which another one may have had.
    pub async fn name_image(&self, name: &str, target: &Descriptor) -> Answer<()> {
        let image = ImageRecord { name: name.to_owned(), labels: HashMap::new(), target: Some(target.clone()) };
        let request = OneImage { image: Some(image) };
        let created: Answer<OneImage> =
            self.call("/containerd.services.images.v1.Images/Create", request.clone()).await;
        match created {
            Err(status) if status.code() == Code::AlreadyExists => {
                let _: OneImage = self.call("/containerd.services.images.v1.Images/Update", request).await?;
                Ok(())
            }
            answer => answer.map(|_| ()),
        }
    }

    /// Takes a name away; what nothing else uses is removed. One that is not there is none to take away.
    pub async fn forget_image(&self, name: &str) -> Answer<()> {
        let request = ImageName { name: name.to_owned(), sync: true };
        match self.call::<_, Empty>("/containerd.services.images.v1.Images/Delete", request).await {
            Err(status) if status.code() != Code::NotFound => Err(status),
            _ => Ok(()),
        }
    }

    /// The images that the kubelet sees.
    pub async fn images(&self) -> Answer<Vec<CriImage>> {
        let answer: CriImages = self.call("/runtime.v1.ImageService/ListImages", Empty {}).await?;
        Ok(answer.images)
    }

    /// The image that the kubelet sees by a name, a digest or an id.
    pub async fn cri_image(&self, name: &str) -> Answer<Option<CriImage>> {
        let answer: CriImageStatus = self.call("/runtime.v1.ImageService/ImageStatus", spec(name)).await?;
        Ok(answer.image)
    }

    /// Removes an image with all its names.
    pub async fn remove_image(&self, name: &str) -> Answer<()> {
        let _: Empty = self.call("/runtime.v1.ImageService/RemoveImage", spec(name)).await?;
        Ok(())
    }

    /// Pulls as the kubelet does: by the node's configuration of registries.
    pub async fn pull(&self, name: &str, auth: Option<CriAuth>) -> Answer<String> {
        let image = Some(ImageSpec { image: name.to_owned() });
        let answer: CriPullResponse =
            self.call("/runtime.v1.ImageService/PullImage", CriPullRequest { image, auth }).await?;
        Ok(answer.image_ref)
    }
}

fn spec(name: &str) -> ImageSpecRequest {
    ImageSpecRequest { image: Some(ImageSpec { image: name.to_owned() }) }
}
