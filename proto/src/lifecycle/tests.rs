use super::*;

fn order(course: Course) -> String {
    course.events().map(LifecycleEvent::name).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_course_goes_through_codedeploys_order() {
    assert_eq!(
        order(Course::InPlace),
        "ApplicationStop DownloadBundle BeforeInstall Install AfterInstall ApplicationStart ValidateService"
    );
    assert_eq!(
        order(Course::InPlaceWithTraffic),
        "BeforeBlockTraffic BlockTraffic AfterBlockTraffic ApplicationStop DownloadBundle BeforeInstall \
         Install AfterInstall ApplicationStart ValidateService BeforeAllowTraffic AllowTraffic \
         AfterAllowTraffic"
    );
    assert_eq!(
        order(Course::Local),
        "BeforeBlockTraffic AfterBlockTraffic ApplicationStop DownloadBundle BeforeInstall Install \
         AfterInstall ApplicationStart ValidateService BeforeAllowTraffic AfterAllowTraffic"
    );
    assert_eq!(order(Course::Restart), "ApplicationStop ApplicationStart ValidateService");
}

#[test]
fn walking_a_course_step_by_step_is_its_order() {
    let mut walked = Vec::new();
    let mut at = None;
    while let Some(event) = Course::InPlace.after(at) {
        walked.push(event);
        at = Some(event);
    }
    assert_eq!(walked, Course::InPlace.events().collect::<Vec<_>>());
}

#[test]
fn names_are_case_sensitive() {
    assert_eq!("Install".parse(), Ok(LifecycleEvent::Install));
    assert!("install".parse::<LifecycleEvent>().is_err());
}

#[test]
fn a_blue_green_rollback_runs_the_scripts_of_other_revisions() {
    let others = LIFECYCLE.iter().filter(|step| step.scripts != step.rollback_scripts);
    let others: Vec<_> = others.map(|step| (step.name, step.rollback_scripts)).collect();
    assert_eq!(
        others,
        [
            ("BeforeBlockTraffic", Scripts::MostRecent),
            ("AfterBlockTraffic", Scripts::MostRecent),
            ("BeforeAllowTraffic", Scripts::LastInstalled),
            ("AfterAllowTraffic", Scripts::LastInstalled),
        ]
    );
}
